//! The labels that AppArmor and SELinux give a process at its next `execve`, and SELinux a mount.
//!
//! The kernel takes those of a process from itself, through files below `/proc`. Those are opened while `/proc` is
//! the host's: an image can put ordinary files in their place, which would swallow the label (CVE-2025-52881). They
//! are written last of what needs full rights. A label that this kernel cannot give is refused: somebody relies
//! on it.

use crate::error::{Error, Result};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::path::Path;

const APPARMOR: &str = "process.apparmorProfile";
const SELINUX: &str = "process.selinuxLabel";
const SELINUX_FS: &str = "/sys/fs/selinux";

/// Files that are open, with what is written to them.
#[derive(Debug, Default)]
pub(crate) struct Labels(Vec<(OwnedFd, String, &'static str)>);

/// Where the kernel's files are; made-up ones in tests.
struct Place<'a> {
    attributes: &'a Path,
    modules: &'a Path,
    selinux: &'a Path,
    /// What `attributes` must be on.
    file_system: Option<i64>,
}

impl Labels {
    /// Opens what a profile and a label need; either may be empty.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the kernel has no such labels; as `open(2)`.
    pub(crate) fn open(apparmor: &str, selinux: &str) -> Result<Self> {
        const PROC_SUPER_MAGIC: i64 = 0x9fa0;
        Self::open_in(
            apparmor,
            selinux,
            &Place {
                attributes: Path::new("/proc/thread-self/attr"),
                modules: Path::new("/sys/module"),
                selinux: Path::new(SELINUX_FS),
                file_system: Some(PROC_SUPER_MAGIC),
            },
        )
    }

    fn open_in(apparmor: &str, selinux: &str, place: &Place<'_>) -> Result<Self> {
        let mut out = Self::default();
        if !selinux.is_empty() {
            if !place.selinux.join("enforce").exists() {
                return Err(missing(SELINUX, "SELinux", selinux));
            }
            let file = place.open("exec", SELINUX)?;
            out.0.push((file, selinux.to_owned(), SELINUX));
        }
        if !apparmor.is_empty() {
            let enabled = std::fs::read(place.modules.join("apparmor/parameters/enabled"));
            if enabled.ok().as_deref() != Some(b"Y\n") {
                // What everything is where there are no profiles.
                if apparmor == "unconfined" {
                    return Ok(out);
                }
                return Err(missing(APPARMOR, "AppArmor", apparmor));
            }
            // Of AppArmor alone since Linux 5.8; before, of whichever module is the first.
            let file =
                place.open("apparmor/exec", APPARMOR).or_else(|_| place.open("exec", APPARMOR))?;
            out.0.push((file, format!("exec {apparmor}"), APPARMOR));
        }
        Ok(out)
    }

    /// Writes them: the next `execve` of this process gives them.
    ///
    /// # Errors
    /// As `write(2)`: there is no such profile, or this process may not give such a label.
    pub(crate) fn write(&self) -> Result<()> {
        for (file, text, field) in &self.0 {
            // One write: the kernel takes each as a whole label.
            let subject = format!("{field} {text:?}");
            match rustix::io::write(file, text.as_bytes()) {
                Ok(n) if n == text.len() => {}
                Ok(_) => return Err(Error::os("apply", subject)(rustix::io::Errno::IO)),
                Err(e) => return Err(Error::os("apply", subject)(e)),
            }
        }
        Ok(())
    }
}

impl Place<'_> {
    fn open(&self, file: &str, field: &str) -> Result<OwnedFd> {
        let path = self.attributes.join(file);
        let failed = |e| Error::os("open", format!("{} for {field}", path.display()))(e);
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(&path, flags, Mode::empty()).map_err(failed)?;
        let kind = rustix::fs::fstatfs(&opened).map_err(failed)?.f_type;
        match self.file_system {
            Some(wanted) if wanted != kind => Err(failed(rustix::io::Errno::NODEV)),
            _ => Ok(opened),
        }
    }
}

/// The option that labels everything on a mount; none for the empty label.
///
/// # Errors
/// [`Error::Unsupported`] where the kernel has no SELinux: it would refuse the option without saying why.
pub(crate) fn mount_context(label: &str) -> Result<Option<String>> {
    if label.is_empty() {
        return Ok(None);
    }
    if !Path::new(SELINUX_FS).join("enforce").exists() {
        return Err(missing("linux.mountLabel", "SELinux", label));
    }
    Ok(Some(format!("context=\"{label}\"")))
}

fn missing(field: &str, module: &str, label: &str) -> Error {
    let reason = format!("{module} is not enabled here, and the label {label:?} asks for it");
    Error::Unsupported { field: field.into(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel with both, of ordinary files; without the file of AppArmor alone if `is_old`.
    fn kernel(is_old: bool) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for below in ["attr/apparmor", "module/apparmor/parameters", "selinux"] {
            std::fs::create_dir_all(dir.path().join(below)).unwrap();
        }
        std::fs::write(dir.path().join("module/apparmor/parameters/enabled"), "Y\n").unwrap();
        std::fs::write(dir.path().join("selinux/enforce"), "1").unwrap();
        std::fs::write(dir.path().join("attr/exec"), "").unwrap();
        if !is_old {
            std::fs::write(dir.path().join("attr/apparmor/exec"), "").unwrap();
        }
        dir
    }

    fn open(dir: &Path, apparmor: &str, selinux: &str, file_system: Option<i64>) -> Result<Labels> {
        let (attributes, modules) = (&dir.join("attr"), &dir.join("module"));
        let place = Place { attributes, modules, selinux: &dir.join("selinux"), file_system };
        Labels::open_in(apparmor, selinux, &place)
    }

    fn content(dir: &tempfile::TempDir, file: &str) -> String {
        std::fs::read_to_string(dir.path().join("attr").join(file)).unwrap()
    }

    #[test]
    fn labels_go_to_the_files_that_were_opened() {
        let dir = kernel(false);
        let labels = open(dir.path(), "docker-default", "system_u:object_r:x", None).unwrap();
        assert_eq!((content(&dir, "exec"), content(&dir, "apparmor/exec")), Default::default());
        // What an image puts in their place meanwhile gets nothing.
        std::fs::rename(dir.path().join("attr/exec"), dir.path().join("attr/real")).unwrap();
        std::fs::write(dir.path().join("attr/exec"), "").unwrap();
        labels.write().unwrap();
        assert_eq!(content(&dir, "apparmor/exec"), "exec docker-default");
        assert_eq!(content(&dir, "real"), "system_u:object_r:x");
        assert_eq!(content(&dir, "exec"), "");
    }

    #[test]
    fn an_older_kernel_has_one_file_for_all() {
        let dir = kernel(true);
        open(dir.path(), "p", "", None).unwrap().write().unwrap();
        assert_eq!(content(&dir, "exec"), "exec p");
    }

    #[test]
    fn a_kernel_without_them_refuses_by_field() {
        let dir = kernel(false);
        std::fs::write(dir.path().join("module/apparmor/parameters/enabled"), "N\n").unwrap();
        std::fs::remove_file(dir.path().join("selinux/enforce")).unwrap();
        let refused =
            |apparmor, selinux| open(dir.path(), apparmor, selinux, None).unwrap_err().to_string();
        assert!(refused("p", "").contains("process.apparmorProfile"), "{}", refused("p", ""));
        assert!(refused("", "l").contains("process.selinuxLabel"), "{}", refused("", "l"));
        assert!(open(dir.path(), "unconfined", "", None).unwrap().0.is_empty());
        assert!(open(dir.path(), "", "", None).unwrap().0.is_empty());
    }

    #[test]
    fn a_false_proc_is_refused() {
        let dir = kernel(false);
        let error = open(dir.path(), "", "l", Some(0x9fa0)).unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENODEV));
        assert_eq!(content(&dir, "exec"), "");
    }
}
