//! The process of a container, from the configuration to `execve`: users, limits, rights, filter.
//!
//! Everything that can be refused or must allocate is done in [`ProcessPlan::new`], before the fork. The
//! steps after it run in the child, in this order: [`settle`](ProcessPlan::settle) with full rights,
//! [`drop_rights`](ProcessPlan::drop_rights), the wait for `start`, [`seal`](ProcessPlan::seal) and
//! [`execute`](ProcessPlan::execute); or, with a launcher ([`crate::launcher`]), the last two are its own. After
//! the filter is in, nothing is called but `capset`, `prctl` and `execve`: a tight profile needs no more than
//! those for our sake.

mod sealing;

pub(crate) use sealing::{INSTALL, Operand, not_installed};

use crate::caps;
use crate::error::{Error, Result};
use crate::labels::Labels;
use crate::seccomp::Filter;
use crate::spec::{MemoryPolicy, Process, Seccomp};
use crate::sys::{
    CStringArray, SchedAttr, default_signals, execute, install_filter, set_io_priority,
    set_memory_policy, set_personality, set_scheduler,
};
use crate::tuning;
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit};
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What avoids the want of a right to change ids.
const IDS: &str = "keep the caller's ids, or add a user namespace";

/// A process to be.
#[derive(Debug)]
pub struct ProcessPlan {
    /// Arguments, the program first.
    pub argv: Vec<String>,
    /// Environment.
    pub env: Vec<String>,
    /// Working directory in the container.
    pub cwd: PathBuf,
    /// Whether it gets a terminal.
    pub has_terminal: bool,
    /// Rows and columns of the terminal.
    pub console_size: Option<(u16, u16)>,
    /// User in the container.
    pub uid: u32,
    /// Group in the container.
    pub gid: u32,
    /// Filter, compiled.
    pub filter: Option<Filter>,
    groups: Vec<Gid>,
    umask: u32,
    caps: Option<caps::Sets>,
    is_privilege_fixed: bool,
    apparmor: String,
    selinux: String,
    labels: Labels,
    rlimits: Vec<(Resource, Rlimit, String)>,
    oom_score_adj: Option<i32>,
    scheduler: Option<SchedAttr>,
    io_priority: Option<i32>,
    personality: Option<u64>,
    memory_policy: Option<(i32, Vec<u64>)>,
    argv_c: CStringArray,
    env_c: CStringArray,
    /// Whether the launcher makes the last steps ([`sealing`](Self::sealing)) and not this program.
    has_launcher: bool,
    /// Where the filter's listener goes, connected while paths are the host's.
    listener_socket: Option<rustix::fd::OwnedFd>,
    /// Warnings for the log.
    pub warnings: Vec<String>,
}

impl ProcessPlan {
    /// From the configuration. In a user namespace (`has_user_namespace`) its root has every capability,
    /// whatever this process has. The filter may come from the cache below `root`.
    ///
    /// # Errors
    /// The field that is not possible.
    pub fn new(
        process: &Process,
        seccomp: Option<&Seccomp>,
        root: &Path,
        has_user_namespace: bool,
    ) -> Result<Self> {
        if process.args.is_empty() {
            return Err(Error::config("process.args", "a program", "an empty list"));
        }
        if !process.cwd.is_absolute() {
            let got = format!("{:?}", process.cwd);
            return Err(Error::config("process.cwd", "an absolute path", got));
        }
        let strings = |field: &str, list: &[String]| {
            CStringArray::new(list.iter().map(String::as_str)).map_err(|index| {
                Error::config(format!("process.{field}[{index}]"), "no NUL byte", "one")
            })
        };
        let (argv_c, env_c) = (strings("args", &process.args)?, strings("env", &process.env)?);
        let mut warnings = Vec::new();
        let caps = match &process.capabilities {
            None => None,
            Some(wanted) => {
                let available = if has_user_namespace { caps::ALL } else { caps::available()? };
                let (sets, left_out) = caps::Sets::new(wanted, available);
                if !left_out.is_empty() {
                    let names = left_out.join(", ");
                    warnings.push(format!("process.capabilities: not available here: {names}"));
                }
                Some(sets)
            }
        };
        let rlimits = process
            .rlimits
            .iter()
            .enumerate()
            .map(|(i, limit)| tuning::rlimit(i, limit))
            .collect::<Result<Vec<_>>>()?;
        let scheduler = process.scheduler.as_ref().map(tuning::scheduler).transpose()?;
        let io_priority = process.io_priority.as_ref().map(tuning::io_priority).transpose()?;
        if let Some(score) = process.oom_score_adj
            && !(-1000..=1000).contains(&score)
        {
            return Err(Error::config("process.oomScoreAdj", "-1000 to 1000", score));
        }
        let filter = seccomp.map(|profile| Filter::cached(profile, root)).transpose()?;
        let listener_socket = match filter.as_ref().and_then(|f| f.listener.as_ref()) {
            Some((path, _)) => Some(crate::console::connect_socket(path)?),
            None => None,
        };
        Ok(Self {
            argv: process.args.clone(),
            env: process.env.clone(),
            cwd: process.cwd.clone(),
            has_terminal: process.terminal,
            console_size: process.console_size.map(|s| (s.height, s.width)),
            uid: process.user.uid,
            gid: process.user.gid,
            filter,
            groups: process.user.additional_gids.iter().map(|g| Gid::from_raw(*g)).collect(),
            umask: process.user.umask.unwrap_or(0o022) & 0o777,
            caps,
            is_privilege_fixed: process.no_new_privileges,
            apparmor: process.apparmor_profile.clone(),
            selinux: process.selinux_label.clone(),
            labels: Labels::default(),
            rlimits,
            oom_score_adj: process.oom_score_adj,
            scheduler,
            io_priority,
            personality: None,
            memory_policy: None,
            argv_c,
            env_c,
            has_launcher: false,
            listener_socket,
            warnings,
        })
    }

    /// Adds `linux.personality` and `linux.memoryPolicy`, which a first process has and an exec'd one takes
    /// from its container's configuration too.
    ///
    /// # Errors
    /// The field that is not possible.
    pub fn with_linux(
        mut self,
        personality: Option<&crate::spec::linux::Personality>,
        memory: Option<&MemoryPolicy>,
    ) -> Result<Self> {
        self.personality = personality.map(tuning::personality).transpose()?;
        self.memory_policy = memory.map(tuning::memory_policy).transpose()?;
        Ok(self)
    }

    /// Drops what applies to the libos and not to the host process of an enclave (design: NPROC, AS, DATA,
    /// STACK and NOFILE are the enclave's own limits).
    pub fn keep_host_limits_only(&mut self) {
        self.rlimits.retain(|(resource, _, _)| {
            !matches!(
                resource,
                Resource::Nproc
                    | Resource::As
                    | Resource::Data
                    | Resource::Stack
                    | Resource::Nofile
            )
        });
    }

    /// In the runtime: limits that take rights which the child may not have.
    ///
    /// # Errors
    /// [`Error::Capability`] where the capability is missing.
    pub fn limit_from_outside(&self, pid: Pid) -> Result<()> {
        for (resource, limit, field) in &self.rlimits {
            tuning::set_rlimit(pid, *resource, limit, field)?;
        }
        match self.oom_score_adj {
            Some(score) => tuning::set_oom_score(pid, score),
            None => Ok(()),
        }
    }

    /// In the child, while `/proc` is the host's: opens what labels are written to.
    ///
    /// # Errors
    /// The label that this kernel cannot give.
    pub(crate) fn open_labels(&mut self) -> Result<()> {
        self.labels = Labels::open(&self.apparmor, &self.selinux)?;
        Ok(())
    }

    /// In the child, in the container's root and with full rights: scheduling, labels, terminal's owner,
    /// environment and working directory.
    ///
    /// # Errors
    /// The step that failed.
    pub fn settle(&mut self) -> Result<()> {
        if let Some(attributes) = self.scheduler {
            set_scheduler(attributes).map_err(Error::os("apply", "process.scheduler"))?;
        }
        if let Some(value) = self.io_priority {
            set_io_priority(value).map_err(Error::os("apply", "process.ioPriority"))?;
        }
        if let Some((mode, nodes)) = &self.memory_policy {
            set_memory_policy(*mode, nodes).map_err(Error::os("apply", "linux.memoryPolicy"))?;
        }
        if let Some(persona) = self.personality {
            set_personality(persona).map_err(Error::os("apply", "linux.personality"))?;
        }
        self.labels.write()?;
        if !self.env.iter().any(|e| e.starts_with("HOME=")) {
            let home = format!("HOME={}", home_of(self.uid));
            self.env.push(home);
            let env = self.env.iter().map(String::as_str);
            self.env_c = CStringArray::new(env)
                .map_err(|_| Error::config("HOME from /etc/passwd", "no NUL byte", "one"))?;
        }
        self.enter_cwd()?;
        own_stdio(self.uid);
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(self.umask));
        Ok(())
    }

    /// Enters the working directory, making it if it is missing, and makes sure that it is in the
    /// container (CVE-2024-21626: a leaked descriptor's path leads out).
    fn enter_cwd(&self) -> Result<()> {
        let failed = |operation| Error::os(operation, &self.cwd);
        match rustix::process::chdir(&self.cwd) {
            Ok(()) => {}
            Err(Errno::NOENT) => {
                std::fs::create_dir_all(&self.cwd)
                    .map_err(|e| Error::os_io("make process.cwd", &self.cwd, &e))?;
                rustix::process::chdir(&self.cwd).map_err(failed("enter process.cwd"))?;
            }
            // Only the user may enter: tried again as the user.
            Err(Errno::ACCESS) => return Ok(()),
            Err(e) => return Err(failed("enter process.cwd")(e)),
        }
        self.check_cwd()
    }

    fn check_cwd(&self) -> Result<()> {
        // Outside of the root the kernel puts "(unreachable)" before the path.
        let cwd = rustix::process::getcwd(Vec::new()).map_err(Error::os("find", &self.cwd))?;
        if cwd.as_bytes().starts_with(b"/") {
            return Ok(());
        }
        let got = format!("{:?}", cwd.to_string_lossy());
        Err(Error::config("process.cwd", "a directory in the container", got))
    }

    /// In the child: becomes the user, keeping what [`seal`](Self::seal) still needs.
    ///
    /// # Errors
    /// The step that failed.
    pub fn drop_rights(&self) -> Result<()> {
        use rustix::thread::{set_keep_capabilities, set_thread_groups};
        use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
        if let Some(caps) = &self.caps {
            if self.has_launcher {
                caps::keep_inheritable(self.carried(caps))?;
            }
            caps::limit_bounding(caps.bounding)?;
        }
        if self.caps.is_some() {
            set_keep_capabilities(true).map_err(Error::os("keep", "capabilities"))?;
        }
        match set_thread_groups(&self.groups) {
            Ok(()) => {}
            // A user namespace made without rights may not change groups; none were asked for.
            Err(Errno::PERM) if self.groups.is_empty() => {}
            Err(e) => {
                let field = "process.user.additionalGids";
                return Err(caps::refused("set", "CAP_SETGID", field, IDS)(e));
            }
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        let field = format!("process.user.gid to {}", self.gid);
        set_thread_res_gid(gid, gid, gid).map_err(caps::refused(
            "set",
            "CAP_SETGID",
            field,
            IDS,
        ))?;
        let field = format!("process.user.uid to {}", self.uid);
        set_thread_res_uid(uid, uid, uid).map_err(caps::refused(
            "set",
            "CAP_SETUID",
            field,
            IDS,
        ))?;
        if self.caps.is_some() {
            set_keep_capabilities(false).map_err(Error::os("keep", "capabilities"))?;
            caps::raise_permitted()?;
        }
        match rustix::process::chdir(&self.cwd) {
            Ok(()) => {}
            // Root had been let in, and stays.
            Err(Errno::ACCESS)
                if rustix::process::getcwd(Vec::new())
                    .is_ok_and(|c| c.as_bytes() == self.cwd.as_os_str().as_bytes()) => {}
            Err(e) => return Err(Error::os("enter process.cwd", &self.cwd)(e)),
        }
        self.check_cwd()
    }

    /// Whether the filter has a listener that somebody waits for.
    #[must_use]
    pub const fn has_listener(&self) -> bool {
        self.listener_socket.is_some()
    }

    /// In the child: the last rights go, the filter comes. `state` is the container's, for the consumer of
    /// `SCMP_ACT_NOTIFY`.
    ///
    /// # Errors
    /// The step that failed.
    pub fn seal(&self, state: &str) -> Result<()> {
        if self.is_privilege_fixed {
            rustix::thread::set_no_new_privs(true).map_err(Error::os("set", "no_new_privs"))?;
        }
        // Without no_new_privs the filter takes CAP_SYS_ADMIN, so it comes before the rights go.
        if self.is_privilege_fixed {
            self.apply_caps()?;
            self.install(state)
        } else {
            self.install(state)?;
            self.apply_caps()
        }
    }

    /// `no_new_privs` and the final capabilities, without the filter: for init-runelet, which installs it
    /// for all its threads later.
    ///
    /// # Errors
    /// The step that failed.
    pub fn seal_without_filter(&self) -> Result<()> {
        if self.is_privilege_fixed || self.filter.is_some() {
            rustix::thread::set_no_new_privs(true).map_err(Error::os("set", "no_new_privs"))?;
        }
        self.apply_caps()
    }

    fn apply_caps(&self) -> Result<()> {
        self.caps.as_ref().map_or(Ok(()), caps::apply)
    }

    fn install(&self, state: &str) -> Result<()> {
        let Some(filter) = &self.filter else { return Ok(()) };
        match install_filter(&filter.program, filter.flags) {
            Ok(None) => Ok(()),
            Ok(Some(listener)) => self.send_listener(&listener, state),
            Err(e) => Err(sealing::not_installed(e)),
        }
    }

    /// Hands the filter's listener to its consumer, with the metadata of the profile.
    fn send_listener(&self, listener: &rustix::fd::OwnedFd, state: &str) -> Result<()> {
        use rustix::fd::AsFd;
        let (Some(socket), Some((path, metadata))) =
            (&self.listener_socket, self.filter.as_ref().and_then(|f| f.listener.as_ref()))
        else {
            return Ok(());
        };
        let state: serde_json::Value = serde_json::from_str(state).unwrap_or_default();
        let message = serde_json::json!({
            "ociVersion": crate::spec::OCI_VERSION,
            "fds": ["seccompFd"],
            "pid": state.get("pid"),
            "metadata": metadata,
            "state": state,
        });
        crate::console::send_fds(
            socket.as_fd(),
            message.to_string().as_bytes(),
            &[listener.as_fd()],
        )
        .map_err(Error::os("send the filter's listener to", path))
    }

    /// The program's path: as given, or found in the `PATH` of its environment.
    ///
    /// # Errors
    /// It is not there, or not executable.
    pub fn find_program(&self) -> Result<CString> {
        let name = &self.argv[0];
        let refuse = |errno| {
            Err(Error::Os {
                operation: "find the executable file",
                subject: format!("{name:?} (process.args[0])"),
                errno,
            })
        };
        let c_string = |path: &Path| CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
        if name.contains('/') {
            return match executable(Path::new(name)) {
                Ok(()) => Ok(c_string(Path::new(name))),
                Err(errno) => refuse(errno),
            };
        }
        let path = self.env.iter().rev().find_map(|e| e.strip_prefix("PATH="));
        let mut last = libc::ENOENT;
        for directory in path.unwrap_or("").split(':') {
            let directory = if directory.is_empty() { "." } else { directory };
            let candidate = Path::new(directory).join(OsStr::new(name));
            match executable(&candidate) {
                Ok(()) => return Ok(c_string(&candidate)),
                Err(libc::EACCES) => last = libc::EACCES,
                Err(_) => {}
            }
        }
        refuse(last)
    }

    /// Becomes the program. Returns only if that failed.
    pub fn execute(&self, program: &CString) -> Error {
        let errno = execute(program, &self.argv_c, &self.env_c);
        Error::os("execute", OsStr::from_bytes(program.as_bytes()))(errno)
    }

    /// Signal dispositions, mask and descriptors as a program expects them.
    ///
    /// # Errors
    /// As `close_range(2)`.
    pub fn clean_up(preserved: u32) -> Result<()> {
        default_signals();
        crate::sys::close_on_exec_from(3 + preserved).map_err(Error::os("close", "descriptors"))
    }
}

fn executable(path: &Path) -> std::result::Result<(), i32> {
    use rustix::fs::{Access, AtFlags, CWD, FileType, accessat, stat};
    let stat = stat(path).map_err(|e| e.raw_os_error())?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Err(libc::EISDIR);
    }
    if stat.st_mode & 0o111 == 0 {
        return Err(libc::EACCES);
    }
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(|e| e.raw_os_error())
}

/// The home directory of a user in the container's `/etc/passwd`, `/` if there is none.
fn home_of(uid: u32) -> String {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    for line in text.lines() {
        let mut fields = line.split(':');
        if fields.nth(2).and_then(|f| f.parse::<u32>().ok()) == Some(uid)
            && let Some(home) = fields.nth(2).filter(|h| !h.is_empty())
        {
            return home.to_owned();
        }
    }
    "/".to_owned()
}

/// Standard streams belong to the user, so that programs may open `/dev/stdout` again. Streams that cannot
/// change hands stay as they are; the host's null device must.
fn own_stdio(uid: u32) {
    for fd in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let Ok(stat) = rustix::fs::fstat(fd) else { continue };
        let is_null = stat.st_rdev == rustix::fs::makedev(1, 3);
        if stat.st_uid != uid && !is_null {
            let _ = rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(args: &[&str], env: &[&str]) -> Process {
        Process {
            args: args.iter().map(|a| (*a).into()).collect(),
            env: env.iter().map(|a| (*a).into()).collect(),
            cwd: "/".into(),
            ..Process::default()
        }
    }

    #[test]
    fn programs_are_found_by_path_or_refused() {
        let plan = |args: &[&str]| {
            ProcessPlan::new(&process(args, &["PATH=/nowhere:/bin"]), None, Path::new("/"), false)
        };
        assert_eq!(plan(&["sh"]).unwrap().find_program().unwrap(), c"/bin/sh".to_owned());
        assert_eq!(plan(&["/bin/sh"]).unwrap().find_program().unwrap(), c"/bin/sh".to_owned());
        let e = plan(&["no-such"]).unwrap().find_program().unwrap_err();
        assert_eq!(e.errno(), Some(libc::ENOENT));
        let e = plan(&["/etc/passwd"]).unwrap().find_program().unwrap_err();
        assert_eq!(e.errno(), Some(libc::EACCES));
    }

    #[test]
    fn impossible_processes_are_named_by_field() {
        for (process, field) in [
            (process(&[], &[]), "process.args"),
            (process(&["a\0b"], &[]), "process.args[0]"),
            (process(&["a"], &["A=1", "B\0"]), "process.env[1]"),
            (Process { cwd: "x".into(), ..process(&["a"], &[]) }, "process.cwd"),
            (Process { oom_score_adj: Some(1001), ..process(&["a"], &[]) }, "process.oomScoreAdj"),
        ] {
            let e =
                ProcessPlan::new(&process, None, Path::new("/"), false).unwrap_err().to_string();
            assert!(e.contains(field), "{e}");
        }
    }
}
