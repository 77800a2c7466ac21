//! The attester of a TDX or SEV-SNP guest: quotes from the kernel's configfs-tsm.
//!
//! Linux, `Documentation/ABI/testing/configfs-tsm-report` (6.7 and later): a directory made under
//! `/sys/kernel/config/tsm/report` is one request. `inblob` takes the report data, `outblob` gives the quote
//! or report, `provider` says which, `auxblob` what the host adds (SNP: the certificate table of
//! [`crate::snp::table`]). `generation` counts the writes: if it moved by more than our own, somebody
//! else wrote in between, and what we read may answer their question. Then nothing is returned.
//!
//! What comes is not verified here, and a made-up directory can pretend to be a kernel: only a verifier
//! outside tells. Not yet run on hardware.

use std::format;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::string::String;
use std::sync::atomic::{AtomicU32, Ordering};
use std::vec::Vec;
use std::{fmt, fs};

/// Where the kernel has it.
pub const REPORT_DIRECTORY: &str = "/sys/kernel/config/tsm/report";

/// Largest quote or report that is read. The kernel's own limit is 32 KiB.
const MAX_OUTBLOB: usize = 64 << 10;
/// Largest certificate table that is read.
const MAX_AUXBLOB: usize = 1 << 20;
/// Longest text attribute.
const MAX_TEXT: usize = 256;
/// Directories that are tried before their names are given up: others may be ours of an earlier run.
const MAX_NAMES: u32 = 64;

/// What made a quote, by the name of the kernel module that the attribute has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// `sev_guest`: `outblob` is a SEV-SNP attestation report.
    SevGuest,
    /// `tdx_guest`: `outblob` is a TDX quote.
    TdxGuest,
}

impl Provider {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "sev_guest" => Some(Self::SevGuest),
            "tdx_guest" => Some(Self::TdxGuest),
            _ => None,
        }
    }
}

/// A quote or report, as the kernel gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What made it.
    pub provider: Provider,
    /// The quote or report.
    pub outblob: Vec<u8>,
    /// What the host adds; empty where it adds nothing.
    pub auxblob: Vec<u8>,
}

/// Why there is no quote.
#[derive(Debug)]
pub enum TsmError {
    /// The directory for requests is not there: no TDX or SNP guest, an older kernel, or configfs not mounted.
    Unavailable {
        /// Which directory.
        directory: PathBuf,
    },
    /// An operation on a file failed.
    Io {
        /// What was done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An attribute is longer than it may be.
    TooLong {
        /// Which.
        path: PathBuf,
        /// The limit in bytes.
        limit: usize,
    },
    /// `outblob` is empty.
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// `provider` is neither `sev_guest` nor `tdx_guest`.
    Provider {
        /// What it is.
        got: String,
    },
    /// `generation` is not a number.
    NotANumber {
        /// What it is.
        got: String,
    },
    /// Somebody else wrote to our request.
    Interfered {
        /// The generation after our own writes.
        expected: u64,
        /// What it was after reading.
        got: u64,
    },
}

impl fmt::Display for TsmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable { directory } => write!(
                f,
                "{}: not there: this needs a TDX or SEV-SNP guest, Linux 6.7, configfs mounted",
                directory.display()
            ),
            Self::Io { operation, path, source } => {
                write!(f, "{}: {operation}: {source}", path.display())
            }
            Self::TooLong { path, limit } => {
                write!(f, "{}: expected at most {limit} bytes, got more", path.display())
            }
            Self::Empty { path } => write!(f, "{}: expected a quote, got nothing", path.display()),
            Self::Provider { got } => {
                write!(f, "provider: expected sev_guest or tdx_guest, got '{got}'")
            }
            Self::NotANumber { got } => write!(f, "generation: expected a number, got '{got}'"),
            Self::Interfered { expected, got } => write!(
                f,
                "generation: expected {expected}, got {got}: another process wrote to our request"
            ),
        }
    }
}

impl std::error::Error for TsmError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Asks the kernel of this guest for a quote over `report_data`. `directory` is [`REPORT_DIRECTORY`] but
/// in tests; `privilege_level` is the VMPL of an SNP guest, or nothing for the kernel's default.
///
/// # Errors
/// No such guest, a file that cannot be read or written, another provider, or interference.
pub fn attest(
    directory: &Path,
    report_data: &[u8; 64],
    privilege_level: Option<u32>,
) -> Result<Answer, TsmError> {
    attest_with(&Kernel, directory, report_data, privilege_level)
}

/// The operations on the file system, so that a test can be the kernel.
trait Files {
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    /// One write: configfs takes a binary attribute whole.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// At most `limit` bytes.
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>>;
}

struct Kernel;

impl Files for Kernel {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        // Never creates one: an attribute that the kernel did not make is not one.
        let mut file = fs::OpenOptions::new().write(true).open(path)?;
        match file.write(bytes)? {
            written if written == bytes.len() => Ok(()),
            _ => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(limit as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn attest_with(
    files: &impl Files,
    directory: &Path,
    report_data: &[u8; 64],
    privilege_level: Option<u32>,
) -> Result<Answer, TsmError> {
    let request = Request::create(files, directory)?;
    let provider = request.text("provider")?;
    let provider = Provider::from_name(&provider).ok_or(TsmError::Provider { got: provider })?;
    let mut expected = request.generation()?;
    if let Some(level) = privilege_level {
        request.write("privlevel", format!("{level}").as_bytes())?;
        expected = expected.wrapping_add(1);
    }
    request.write("inblob", report_data)?;
    expected = expected.wrapping_add(1);

    let outblob = request.read("outblob", MAX_OUTBLOB)?;
    let auxblob = match request.read("auxblob", MAX_AUXBLOB) {
        // Not an attribute of this provider.
        Err(TsmError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    // Only now: a write between the two reads would give the certificates of another report.
    let got = request.generation()?;
    if got != expected {
        return Err(TsmError::Interfered { expected, got });
    }
    if outblob.is_empty() {
        return Err(TsmError::Empty { path: request.path.join("outblob") });
    }
    Ok(Answer { provider, outblob, auxblob })
}

/// A directory of ours, removed at the end.
struct Request<'a, F: Files> {
    files: &'a F,
    path: PathBuf,
}

impl<'a, F: Files> Request<'a, F> {
    fn create(files: &'a F, directory: &Path) -> Result<Self, TsmError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mut left = MAX_NAMES;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = directory.join(format!("inclavare-{}-{number}", std::process::id()));
            left -= 1;
            match files.create_directory(&path) {
                Ok(()) => return Ok(Self { files, path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && left > 0 => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(TsmError::Unavailable { directory: directory.to_path_buf() });
                }
                Err(source) => return Err(TsmError::Io { operation: "create", path, source }),
            }
        }
    }

    fn generation(&self) -> Result<u64, TsmError> {
        let text = self.text("generation")?;
        text.parse().map_err(|_| TsmError::NotANumber { got: text })
    }

    fn text(&self, name: &'static str) -> Result<String, TsmError> {
        let bytes = self.read(name, MAX_TEXT)?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().into())
    }

    fn read(&self, name: &'static str, limit: usize) -> Result<Vec<u8>, TsmError> {
        let path = self.path.join(name);
        match self.files.read(&path, limit + 1) {
            Ok(bytes) if bytes.len() > limit => Err(TsmError::TooLong { path, limit }),
            Ok(bytes) => Ok(bytes),
            Err(source) => Err(TsmError::Io { operation: "read", path, source }),
        }
    }

    fn write(&self, name: &'static str, bytes: &[u8]) -> Result<(), TsmError> {
        let path = self.path.join(name);
        let result = self.files.write(&path, bytes);
        result.map_err(|source| TsmError::Io { operation: "write", path, source })
    }
}

impl<F: Files> Drop for Request<'_, F> {
    fn drop(&mut self) {
        // What cannot be removed stays until the next boot, and costs a name.
        let _ = self.files.remove_directory(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A kernel on an ordinary directory: makes the attributes, counts the writes, answers.
    struct MadeUp {
        provider: &'static str,
        auxblob: Option<&'static [u8]>,
        /// Somebody else writes to the request when this attribute is read.
        interferes_at: Option<&'static str>,
        refuses_read: Option<(&'static str, io::ErrorKind)>,
        answer_len: usize,
        made: Cell<u32>,
    }

    fn made_up(provider: &'static str) -> MadeUp {
        MadeUp {
            provider,
            auxblob: None,
            interferes_at: None,
            refuses_read: None,
            answer_len: 3,
            made: Cell::new(0),
        }
    }

    impl MadeUp {
        fn count_write(&self, request: &Path) -> io::Result<()> {
            let path = request.join("generation");
            let generation: u64 = fs::read_to_string(&path)?.trim().parse().unwrap();
            fs::write(path, format!("{}\n", generation + 1))
        }
    }

    impl Files for MadeUp {
        fn create_directory(&self, path: &Path) -> io::Result<()> {
            Kernel.create_directory(path)?;
            self.made.set(self.made.get() + 1);
            for name in ["inblob", "outblob", "privlevel"] {
                fs::write(path.join(name), "")?;
            }
            fs::write(path.join("provider"), format!("{}\n", self.provider))?;
            fs::write(path.join("generation"), "7\n")?;
            self.auxblob.map_or(Ok(()), |bytes| fs::write(path.join("auxblob"), bytes))
        }

        fn remove_directory(&self, path: &Path) -> io::Result<()> {
            self.made.set(self.made.get() - 1);
            fs::remove_dir_all(path)
        }

        fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
            Kernel.write(path, bytes)?;
            let request = path.parent().unwrap();
            if path.ends_with("inblob") {
                assert_eq!(bytes.len(), 64);
                let answer = vec![bytes[0]; self.answer_len];
                fs::write(request.join("outblob"), answer)?;
            }
            self.count_write(request)
        }

        fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
            let is = |name: &str| path.ends_with(name);
            if let Some((name, kind)) = self.refuses_read
                && is(name)
            {
                return Err(kind.into());
            }
            let bytes = Kernel.read(path, limit)?;
            if self.interferes_at.is_some_and(is) {
                self.count_write(path.parent().unwrap())?;
            }
            Ok(bytes)
        }
    }

    fn attest_at(kernel: &MadeUp, level: Option<u32>) -> Result<Answer, TsmError> {
        let directory = tempfile::tempdir().unwrap();
        let answer = attest_with(kernel, directory.path(), &[9; 64], level);
        assert_eq!(kernel.made.get(), 0, "the request is removed, whatever happened");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        answer
    }

    #[test]
    fn both_providers_answer() {
        let kernel = MadeUp { auxblob: Some(b"table"), ..made_up("sev_guest") };
        let answer = attest_at(&kernel, Some(1)).unwrap();
        assert_eq!(answer.provider, Provider::SevGuest);
        assert_eq!((&answer.outblob[..], &answer.auxblob[..]), (&[9; 3][..], &b"table"[..]));
        let answer = attest_at(&made_up("tdx_guest"), None).unwrap();
        assert_eq!((answer.provider, answer.auxblob), (Provider::TdxGuest, Vec::new()));
    }

    #[test]
    fn a_write_of_somebody_else_is_noticed_wherever_it_falls() {
        for name in ["outblob", "auxblob", "generation"] {
            let kernel = MadeUp {
                auxblob: Some(b"table"),
                interferes_at: Some(name),
                ..made_up("sev_guest")
            };
            let refusal = attest_at(&kernel, None).unwrap_err();
            assert!(
                matches!(refusal, TsmError::Interfered { expected: 8, got: 9 }),
                "{name}: {refusal}"
            );
        }
    }

    #[test]
    fn other_providers_are_named() {
        let refusal = attest_at(&made_up("arm_cca_guest"), None).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "provider: expected sev_guest or tdx_guest, got 'arm_cca_guest'"
        );
    }

    #[test]
    fn a_failing_attribute_is_named() {
        for name in ["provider", "generation", "outblob", "auxblob"] {
            let kernel = MadeUp {
                refuses_read: Some((name, io::ErrorKind::ResourceBusy)),
                ..made_up("sev_guest")
            };
            let refusal = attest_at(&kernel, None).unwrap_err().to_string();
            assert!(refusal.contains(&format!("/{name}: read: ")), "{refusal}");
        }
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        let kernel = MadeUp { answer_len: 0, ..made_up("tdx_guest") };
        assert!(matches!(attest_at(&kernel, None), Err(TsmError::Empty { .. })));
        let kernel = MadeUp { answer_len: MAX_OUTBLOB + 1, ..made_up("tdx_guest") };
        assert!(matches!(attest_at(&kernel, None), Err(TsmError::TooLong { .. })));
    }

    #[test]
    fn a_machine_without_the_interface_is_told_so() {
        let refusal = attest(Path::new("/nonexistent/tsm"), &[0; 64], None).unwrap_err();
        assert!(matches!(refusal, TsmError::Unavailable { .. }));
        assert!(refusal.to_string().starts_with("/nonexistent/tsm: not there"), "{refusal}");
    }

    /// The real operations on a directory where the kernel makes no attributes.
    #[test]
    fn an_attribute_is_never_created() {
        let directory = tempfile::tempdir().unwrap();
        let refusal = attest(directory.path(), &[0; 64], None).unwrap_err().to_string();
        assert!(refusal.contains("/provider: read: "), "{refusal}");
        let path = directory.path().join("inblob");
        assert!(Kernel.write(&path, &[0; 64]).is_err());
        assert!(!path.exists());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
