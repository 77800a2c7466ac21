//! containerd as a kubelet asks it: pods and containers over the CRI socket, with rune as the pods' handler.

mod grpc;
mod message;

use crate::containerd::Containerd;
use crate::host::documented;
use crate::packages::Release;
use fixtures::Outcome;
use message::*;
use prost::Message;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the logs of pods go.
const LOGS: &str = "/run/pods";

/// The table that the page's second block is of, and `OWN_SETTINGS` too.
const TABLE: &str = r#"[plugins."io.containerd.grpc.v1.cri"]"#;

/// What this host's containerd needs besides the page's blocks: our pause image, Debian's place of CNI's programs.
const OWN_SETTINGS: &str = r#"
sandbox_image = "docker.io/library/pause:test"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
"#;

const NETWORK: &str = r#"{"cniVersion": "0.4.0", "name": "pods", "plugins": [{
    "type": "bridge", "bridge": "pods0", "isGateway": true,
    "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.88.7.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
}]}"#;

/// A containerd whose CRI plugin is asked.
#[derive(Debug)]
pub struct Cri {
    containerd: Containerd,
    socket: PathBuf,
}

/// A pod that runs.
#[derive(Debug)]
pub struct Pod {
    id: String,
    config: PodSandboxConfig,
    namespaces: NamespaceOption,
}

/// What a pod's containers share.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shared {
    /// The node's network, instead of one that CNI makes for the pod.
    pub node_network: bool,
    /// Their processes, with each other.
    pub processes: bool,
}

/// What a container is to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// Its image's name.
    pub image: &'a str,
    /// Its command; the image's, if empty.
    pub command: &'a [&'a str],
    /// Added to its environment.
    pub environment: &'a [(&'a str, &'a str)],
    /// In bytes; none, if 0.
    pub memory_limit: i64,
    /// As user 33 without capabilities and new privileges, below the engine's seccomp profile, with a root that
    /// it cannot write and without `/proc/interrupts`.
    pub is_narrow: bool,
}

/// How a container fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// `created`, `running`, `exited` or `unknown`.
    pub state: &'static str,
    /// Once it has exited.
    pub exit_code: i32,
    /// Why it has, in one word.
    pub reason: String,
}

impl Cri {
    /// What must be installed.
    pub const PACKAGES: &[&str] = &["containerd", "runc", "containernetworking-plugins", "procps"];

    /// Starts containerd with the handler of `docs/engines.md`, its settings for a machine without
    /// CAP_SYS_RESOURCE, and an image for the pods' own processes.
    ///
    /// # Errors
    /// It does not come up, or lacks the image.
    pub fn start(release: Release) -> Result<Self, String> {
        Self::start_with(release, documented("restrict_oom_score_adj"))
    }

    /// Likewise without those settings.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn start_unrestricted(release: Release) -> Result<Self, String> {
        Self::start_with(release, TABLE)
    }

    /// The settings are the beginning of [`TABLE`].
    fn start_with(release: Release, settings: &str) -> Result<Self, String> {
        let file = "/etc/containerd/config.toml";
        let blocks = [documented(file), settings, OWN_SETTINGS];
        let config = blocks.join("\n");
        let files = [(file, &*config), ("/etc/cni/net.d/10-pods.conflist", NETWORK)];
        let containerd = Containerd::start_with(release, &files)?;
        let socket = containerd.host().path("/run/containerd/containerd.sock");
        let cri = Self { containerd, socket };
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        cri.load(&crate::image::pause(directory.path()))?;
        Ok(cri)
    }

    /// The containerd itself.
    #[must_use]
    pub fn containerd(&self) -> &Containerd {
        &self.containerd
    }

    /// Loads an image where pods seek theirs.
    ///
    /// # Errors
    /// What ctr says.
    pub fn load(&self, archive: &Path) -> Result<(), String> {
        use crate::Expect;
        let file = archive.display().to_string();
        self.containerd.ctr(&["-n", "k8s.io", "images", "import", &file]).expect(0).map(drop)
    }

    fn call<A: Message + Default>(&self, name: &str, question: &impl Message) -> Result<A, String> {
        grpc::call(&self.socket, &format!("runtime.v1.RuntimeService/{name}"), question)
    }

    /// `RunPodSandbox`, with rune as the handler.
    ///
    /// # Errors
    /// What containerd says.
    pub fn run_pod(&self, shared: Shared) -> Result<Pod, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("pod{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let namespaces = NamespaceOption {
            network: if shared.node_network { NODE } else { POD },
            pid: if shared.processes { POD } else { CONTAINER },
            ipc: POD,
        };
        let security_context =
            Some(LinuxSandboxSecurityContext { namespace_options: Some(namespaces) });
        let config = PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.clone(),
                uid: name.clone(),
                namespace: "default".into(),
            }),
            // The node's name is the name of those on its network.
            hostname: if shared.node_network { String::new() } else { name.clone() },
            log_directory: format!("{LOGS}/{name}"),
            linux: Some(LinuxPodSandboxConfig { security_context }),
        };
        let question =
            RunPodSandboxRequest { config: Some(config.clone()), runtime_handler: "rune".into() };
        let made: PodSandboxId = self.call("RunPodSandbox", &question)?;
        Ok(Pod { id: made.pod_sandbox_id, config, namespaces })
    }

    /// A pod's address, by `PodSandboxStatus`; empty on the node's network.
    ///
    /// # Errors
    /// What containerd says.
    pub fn address(&self, pod: &Pod) -> Result<String, String> {
        let question = PodSandboxId { pod_sandbox_id: pod.id.clone() };
        let answer: PodSandboxStatusResponse = self.call("PodSandboxStatus", &question)?;
        Ok(answer.status.and_then(|status| status.network).unwrap_or_default().ip)
    }

    /// `StopPodSandbox` and `RemovePodSandbox`, with all that is in it.
    ///
    /// # Errors
    /// What containerd says.
    pub fn remove_pod(&self, id: &str) -> Result<(), String> {
        let question = PodSandboxId { pod_sandbox_id: id.to_owned() };
        self.call::<Empty>("StopPodSandbox", &question)?;
        self.call::<Empty>("RemovePodSandbox", &question).map(drop)
    }

    /// The pods that there are, by `ListPodSandbox`.
    ///
    /// # Errors
    /// What containerd says.
    pub fn pods(&self) -> Result<Vec<String>, String> {
        let answer: ListPodSandboxResponse = self.call("ListPodSandbox", &Empty {})?;
        Ok(answer.items.into_iter().map(|pod| pod.id).collect())
    }

    /// `CreateContainer`: gives its id. Its name is for its log.
    ///
    /// # Errors
    /// What containerd says.
    pub fn create(&self, pod: &Pod, name: &str, wish: Wish<'_>) -> Result<String, String> {
        let mut security = LinuxContainerSecurityContext {
            namespace_options: Some(pod.namespaces),
            ..Default::default()
        };
        if wish.is_narrow {
            security.capabilities = Some(Capability { drop_capabilities: vec!["ALL".into()] });
            security.run_as_user = Some(Int64Value { value: 33 });
            security.readonly_rootfs = true;
            security.no_new_privs = true;
            security.masked_paths = vec!["/proc/interrupts".into()];
            security.seccomp = Some(Empty {});
        }
        let resources = LinuxContainerResources {
            memory_limit_in_bytes: wish.memory_limit,
            ..Default::default()
        };
        let pair = |&(key, value): &(&str, &str)| KeyValue { key: key.into(), value: value.into() };
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.into() }),
            image: Some(ImageSpec { image: wish.image.into() }),
            command: wish.command.iter().map(|&word| word.into()).collect(),
            envs: wish.environment.iter().map(pair).collect(),
            log_path: format!("{name}.log"),
            linux: Some(LinuxContainerConfig {
                resources: Some(resources),
                security_context: Some(security),
            }),
        };
        let question = CreateContainerRequest {
            pod_sandbox_id: pod.id.clone(),
            config: Some(config),
            sandbox_config: Some(pod.config.clone()),
        };
        self.call("CreateContainer", &question).map(|made: ContainerId| made.container_id)
    }

    /// `StartContainer`.
    ///
    /// # Errors
    /// What containerd says.
    pub fn start_container(&self, id: &str) -> Result<(), String> {
        self.call::<Empty>("StartContainer", &one(id)).map(drop)
    }

    /// `ExecSync`, for so many seconds at most; without an end, if 0.
    ///
    /// # Errors
    /// What containerd says.
    pub fn exec(&self, id: &str, words: &[&str], timeout: i64) -> Result<Outcome, String> {
        let cmd = words.iter().map(|&word| word.into()).collect();
        let question = ExecSyncRequest { container_id: id.to_owned(), cmd, timeout };
        let answer: ExecSyncResponse = self.call("ExecSync", &question)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Outcome {
            code: answer.exit_code,
            stdout: text(&answer.stdout),
            stderr: text(&answer.stderr),
        })
    }

    /// `UpdateContainerResources`: another memory limit, in bytes.
    ///
    /// # Errors
    /// What containerd says.
    pub fn limit_memory(&self, id: &str, bytes: i64) -> Result<(), String> {
        let linux = LinuxContainerResources { memory_limit_in_bytes: bytes, cpu_shares: 512 };
        let question =
            UpdateContainerResourcesRequest { container_id: id.to_owned(), linux: Some(linux) };
        self.call::<Empty>("UpdateContainerResources", &question).map(drop)
    }

    /// `StopContainer`: asked to end, killed after so many seconds.
    ///
    /// # Errors
    /// What containerd says.
    pub fn stop(&self, id: &str, timeout: i64) -> Result<(), String> {
        let question = StopContainerRequest { container_id: id.to_owned(), timeout };
        self.call::<Empty>("StopContainer", &question).map(drop)
    }

    /// `RemoveContainer`.
    ///
    /// # Errors
    /// What containerd says.
    pub fn remove(&self, id: &str) -> Result<(), String> {
        self.call::<Empty>("RemoveContainer", &one(id)).map(drop)
    }

    /// `ContainerStatus`.
    ///
    /// # Errors
    /// What containerd says.
    pub fn status(&self, id: &str) -> Result<Status, String> {
        let answer: ContainerStatusResponse = self.call("ContainerStatus", &one(id))?;
        let status = answer.status.unwrap_or_default();
        let state = match status.state {
            0 => "created",
            1 => "running",
            2 => "exited",
            _ => "unknown",
        };
        Ok(Status { state, exit_code: status.exit_code, reason: status.reason })
    }

    /// What a container has written, in the form that the kubelet reads: time, stream, `F` and the line.
    ///
    /// # Errors
    /// There is no such log.
    pub fn log(&self, pod: &Pod, name: &str) -> Result<String, String> {
        use crate::Expect;
        let file = format!("{}/{name}.log", pod.config.log_directory);
        self.containerd.host().run(&["cat", &file]).expect(0)
    }

    /// Removes all pods.
    pub fn clean(&self) {
        for pod in self.pods().unwrap_or_default() {
            if let Err(error) = self.remove_pod(&pod) {
                eprintln!("remove pod {pod}: {error}");
            }
        }
    }
}

fn one(id: &str) -> ContainerId {
    ContainerId { container_id: id.to_owned() }
}
