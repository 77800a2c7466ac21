//! Labels of the kernel's security modules. AppArmor's are given where the kernel has it and `apparmor_parser`
//! (package apparmor) is there; SELinux's where a [policy](selinux) may be loaded, and are refused where the
//! kernel has it not.

use crate::{Bundle, Runtime, expect, expect_part, selinux};
use rustix::fs::{XattrFlags, setxattr};
use serde_json::json;
use std::path::Path;
use std::process::Command;

super::cases!(
    an_apparmor_profile_confines,
    an_unknown_apparmor_profile_is_refused,
    a_process_label_confines,
    an_unknown_process_label_is_refused,
    a_mount_label_is_that_of_its_files,
    a_process_label_without_selinux_is_refused,
    a_mount_label_without_selinux_is_refused,
);

const PARSER: &str = "/usr/sbin/apparmor_parser";

/// A profile in the kernel, removed when dropped. It allows all but one file.
struct Profile {
    name: String,
    file: tempfile::NamedTempFile,
}

impl Profile {
    /// None where there is no AppArmor.
    fn load() -> Result<Option<Self>, String> {
        if !Path::new("/sys/kernel/security/apparmor/profiles").exists()
            || !Path::new(PARSER).exists()
        {
            return Ok(None);
        }
        let file = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
        let name = format!("conformance-{}", std::process::id());
        let rules = "file, capability, network, mount, umount, pivot_root, signal, ptrace, unix,";
        let text = format!(
            "profile {name} flags=(attach_disconnected) {{\n{rules}\ndeny /etc/secret rwklx,\n}}\n"
        );
        std::fs::write(file.path(), text).map_err(|e| e.to_string())?;
        let profile = Self { name, file };
        profile.parser("--replace").map(|()| Some(profile))
    }

    fn parser(&self, what: &str) -> Result<(), String> {
        let mut command = Command::new(PARSER);
        let command = command.args([what, "--skip-cache", "--quiet"]).arg(self.file.path());
        let output = command.output().map_err(|e| e.to_string())?;
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(format!("{PARSER}: {}", said())) }
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = self.parser("--remove");
    }
}

fn an_apparmor_profile_confines(runtime: &Runtime) -> Result<(), String> {
    let Some(profile) = Profile::load()? else { return Ok(()) };
    let script = "cat /proc/self/attr/current; cat /etc/secret 2>/dev/null || echo refused; \
                  cat /etc/passwd >/dev/null && sleep 1000";
    let mut bundle = Bundle::new(runtime, script)?;
    std::fs::write(bundle.rootfs().join("etc/secret"), "secret\n").map_err(|e| e.to_string())?;
    bundle.set("/process/apparmorProfile", json!(profile.name));
    bundle.start()?;
    let label = format!("{} (enforce)", profile.name);
    bundle.wait_for_output("refused\n")?;
    expect("output", bundle.output(), format!("{label}\nrefused\n"))?;
    let outcome = bundle.exec(&[], &["cat", "/proc/self/attr/current"])?;
    expect("label of exec", outcome.stdout.trim(), label.as_str())
}

fn an_unknown_apparmor_profile_is_refused(runtime: &Runtime) -> Result<(), String> {
    if Profile::load()?.is_none() {
        return Ok(());
    }
    let message = refused(runtime, "/process/apparmorProfile", "conformance-of-nobody")?;
    expect_part("message", &message.to_lowercase(), "apparmor")
}

fn a_process_label_confines(runtime: &Runtime) -> Result<(), String> {
    if !selinux::is_enforced()? {
        return Ok(());
    }
    let script = "cat /proc/self/attr/current; echo; cat /etc/secret 2>/dev/null || echo refused; \
                  cat /etc/passwd >/dev/null && sleep 1000";
    let mut bundle = Bundle::new(runtime, script)?;
    let secret = bundle.rootfs().join("etc/secret");
    std::fs::write(&secret, "secret\n").map_err(|e| e.to_string())?;
    label(&secret, selinux::SECRET)?;
    bundle.set("/process/selinuxLabel", json!(selinux::CONTAINER));
    bundle.start()?;
    bundle.wait_for_output("refused\n")?;
    // The kernel ends a label with a zero byte.
    let output = bundle.output().replace('\0', "");
    expect("output", output, format!("{}\nrefused\n", selinux::CONTAINER))?;
    let label_of = |options: &[&str]| {
        let outcome = bundle.exec(options, &["cat", "/proc/self/attr/current"])?;
        Ok::<_, String>(outcome.stdout.trim_end_matches('\0').to_owned())
    };
    expect("label of exec", label_of(&[])?, selinux::CONTAINER.into())?;
    expect("label asked for", label_of(&["--process-label", selinux::BASE])?, selinux::BASE.into())
}

fn label(file: &Path, label: &str) -> Result<(), String> {
    setxattr(file, "security.selinux", label.as_bytes(), XattrFlags::empty())
        .map_err(|e| format!("label {}: {e}", file.display()))
}

fn an_unknown_process_label_is_refused(runtime: &Runtime) -> Result<(), String> {
    if !selinux::is_enforced()? {
        return Ok(());
    }
    refused(runtime, "/process/selinuxLabel", "base_u:base_r:nobody_t").map(drop)
}

fn a_mount_label_is_that_of_its_files(runtime: &Runtime) -> Result<(), String> {
    if !selinux::is_enforced()? {
        return Ok(());
    }
    let script = "grep ' /mnt ' /proc/self/mountinfo | grep -o 'context=[a-z_:]*'; \
                  echo x > /mnt/file; cat /mnt/file || echo refused";
    let mut bundle = Bundle::new(runtime, script)?;
    bundle.set("/process/selinuxLabel", json!(selinux::CONTAINER));
    bundle.set("/linux/mountLabel", json!(selinux::SECRET));
    let options = json!(["nosuid", "mode=1777"]);
    bundle.push("/mounts", json!({"destination": "/mnt", "type": "tmpfs", "options": options}));
    let outcome = bundle.run()?;
    expect("output", outcome.stdout.as_str(), &format!("context={}\nrefused\n", selinux::SECRET))
}

fn a_process_label_without_selinux_is_refused(runtime: &Runtime) -> Result<(), String> {
    refused_without_selinux(runtime, "/process/selinuxLabel")
}

fn a_mount_label_without_selinux_is_refused(runtime: &Runtime) -> Result<(), String> {
    refused_without_selinux(runtime, "/linux/mountLabel")
}

fn refused_without_selinux(runtime: &Runtime, pointer: &str) -> Result<(), String> {
    if selinux::is_there() {
        return Ok(());
    }
    refused(runtime, pointer, "system_u:object_r:container_file_t:s0").map(drop)
}

/// That a container with this label does not run and leaves nothing; gives what is said.
fn refused(runtime: &Runtime, pointer: &str, label: &str) -> Result<String, String> {
    let mut bundle = Bundle::new(runtime, "echo ran")?;
    bundle.set(pointer, json!(label));
    let outcome = bundle.run()?;
    if outcome.code == 0 || outcome.stdout.contains("ran") {
        return Err(format!("expected a refusal, got {outcome:?}"));
    }
    bundle.expect_nothing_left().map(|()| outcome.stderr)
}
