//! The manifest that an image and rules give.

use crate::attester;
use crate::enclave::RUNTIME_VERSION;
use crate::error::{Error, ImageError};
use crate::image::{ImageConfig, fault};
use crate::policy::{Argv, Policy};
use crate::root::Root;
use crate::tree::Tree;
use crate::users;
use std::collections::BTreeMap;
use workload::manifest::{
    ArgvRule, AttestationFiles, Availability, Enclave, EnvRule, FORMAT, Identity, Inputs, Manifest,
    Network, Process, Reserved, Root as ManifestRoot, Signal, Source, interpreter,
};

/// What Docker gives a process whose image sets no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables that tell the runtime of an image about its enclave: a packed image has them, and must convert
/// to what its source does.
const RUNTIME_VARIABLES: &str = "ENCLAVE_";

/// Composes and validates a manifest.
pub(crate) fn manifest(
    config: &ImageConfig,
    root: &Root,
    source: Source,
    mut policy: Policy,
) -> Result<Manifest, Error> {
    let tree = root.tree();
    let image = config.config.clone().unwrap_or_default();
    let user = users::resolve(tree, image.user.as_deref().unwrap_or_default())?;
    let mut env = image_env(image.env.as_deref().unwrap_or_default())?;
    // Engines set both where the image does not; set here, they are the same from any engine.
    env.entry("PATH".into()).or_insert_with(|| EnvRule::Exact(DEFAULT_PATH.into()));
    env.entry("HOME".into()).or_insert_with(|| EnvRule::Exact(user.home.clone()));
    for (name, rule) in std::mem::take(&mut policy.env) {
        match rule.rule(&name)? {
            Some(rule) => env.insert(name, rule),
            None => env.remove(&name),
        };
    }
    let argv = match policy.argv.take() {
        Some(Argv::Exact(argv)) => ArgvRule::Exact(argv),
        Some(Argv::Prefix { prefix, force }) => ArgvRule::Prefix { argv: prefix, force },
        None => {
            let (entrypoint, cmd) = (image.entrypoint.unwrap_or_default(), image.cmd);
            ArgvRule::Exact([entrypoint, cmd.unwrap_or_default()].concat())
        }
    };
    if matches!(&argv, ArgvRule::Exact(argv) if argv.is_empty()) {
        let expected = "an Entrypoint or Cmd in the image, or argv in the rules";
        return Err(fault("argv", expected, "neither").into());
    }
    let mut manifest = Manifest {
        format: FORMAT,
        runtime_version: RUNTIME_VERSION.into(),
        root: ManifestRoot {
            digest: root.blob.tree.digest,
            size: root.blob.bytes.len() as u64,
            source,
        },
        process: Process {
            argv,
            env,
            cwd: working_directory(image.working_dir.as_deref().unwrap_or_default())?,
            user: user.user,
            stdin: Availability::Denied,
            tty: Availability::Denied,
        },
        exec: vec![],
        mounts: BTreeMap::new(),
        inputs: Inputs::default(),
        signals: Signal::DEFAULT.to_vec(),
        enclave: Enclave::default(),
        network: Network::default(),
        attester: None,
        key_broker: Reserved,
        attestation: AttestationFiles::default(),
        identity: Identity::default(),
        debug: false,
    };
    policy.apply(&mut manifest)?;
    check_prefix(tree, &manifest.process)?;
    attester::check(tree, &manifest)?;
    manifest.validate().map_err(workload::manifest::ManifestError::from)?;
    Ok(manifest)
}

fn image_env(entries: &[String]) -> Result<BTreeMap<String, EnvRule>, ImageError> {
    let mut env = BTreeMap::new();
    for entry in entries {
        let Some((name, value)) = entry.split_once('=').filter(|pair| !pair.0.is_empty()) else {
            return Err(fault("config Env", "NAME=value", crate::tar::shown(entry.as_bytes())));
        };
        if !name.starts_with(RUNTIME_VARIABLES) {
            // Of a name given twice engines take the last.
            env.insert(name.into(), EnvRule::Exact(value.into()));
        }
    }
    Ok(env)
}

/// The working directory as engines pass it on: absolute, without doubled and trailing slashes.
pub(crate) fn working_directory(text: &str) -> Result<String, ImageError> {
    if !text.is_empty() && !text.starts_with('/') {
        let got = crate::tar::shown(text.as_bytes());
        return Err(fault("config WorkingDir", "an absolute path", got));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    Ok(format!("/{}", parts.join("/")))
}

/// A prefix rule on an interpreter needs force under whatever name the image has the interpreter. The
/// manifest's own check sees only the name.
fn check_prefix(tree: &Tree, process: &Process) -> Result<(), Error> {
    let ArgvRule::Prefix { argv, force: false } = &process.argv else { return Ok(()) };
    let Some(program) = argv.first() else { return Ok(()) };
    let search = match process.env.get("PATH") {
        Some(EnvRule::Exact(path)) if !program.contains('/') => path.as_str(),
        _ => "",
    };
    let candidates: Vec<String> = match program.as_str() {
        absolute if absolute.starts_with('/') => vec![absolute.into()],
        relative if relative.contains('/') => vec![format!("{}/{relative}", process.cwd)],
        name => search.split(':').map(|directory| format!("{directory}/{name}")).collect(),
    };
    let real = candidates.iter().find_map(|path| tree.real(path.as_bytes()).ok());
    let real = real.map(|(_, path)| String::from_utf8_lossy(&path).into_owned());
    match real.as_deref().and_then(interpreter) {
        Some(name) => Err(Error::Policy {
            field: "argv.force".into(),
            expected: format!("true for a prefix rule on \"{program}\", which is \"{name}\""),
            got: "false".into(),
        }),
        None => Ok(()),
    }
}
