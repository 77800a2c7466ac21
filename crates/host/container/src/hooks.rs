//! Hooks: programs of the administrator or engine, run at points of the life cycle with the container's
//! state on their standard input.

use crate::error::{Error, HookFailure, Result};
use crate::spec::Hook;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// At most this much of a hook's error output goes into a message, in bytes.
const MAX_OUTPUT: u64 = 4096;

/// Runs hooks in order; the first failure ends it.
///
/// # Errors
/// [`Error::Hook`].
pub(crate) fn run(kind: &str, hooks: &[Hook], state: &str) -> Result<()> {
    for (index, hook) in hooks.iter().enumerate() {
        run_one(hook, state).map_err(|failure| Error::Hook {
            hook: format!("{kind}[{index}]"),
            path: hook.path.clone(),
            failure,
        })?;
    }
    Ok(())
}

fn run_one(hook: &Hook, state: &str) -> std::result::Result<(), HookFailure> {
    let start_failed =
        |e: &std::io::Error| HookFailure::Start(e.raw_os_error().unwrap_or(libc::EIO));
    let mut command = Command::new(&hook.path);
    if let Some((name, rest)) = hook.args.split_first() {
        command.arg0(name).args(rest);
    }
    // Without an `env` of its own a hook inherits ours, as other runtimes have it.
    if !hook.env.is_empty() {
        command.env_clear();
    }
    for entry in &hook.env {
        if let Some((name, value)) = entry.split_once('=') {
            command.env(name, value);
        }
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| start_failed(&e))?;
    if let Some(mut input) = child.stdin.take() {
        // A hook that does not read its input gets EPIPE on our side, which is its right.
        let _ = input.write_all(state.as_bytes());
    }
    let deadline = hook
        .timeout
        .and_then(|s| u64::try_from(s).ok())
        .filter(|s| *s > 0)
        .map(|s| Instant::now() + Duration::from_secs(s));
    let status = match deadline {
        None => child.wait().map_err(|e| start_failed(&e))?,
        Some(deadline) => loop {
            if let Some(status) = child.try_wait().map_err(|e| start_failed(&e))? {
                break status;
            }
            if Instant::now() >= deadline {
                let _ = child.kill();
                let _ = child.wait();
                return Err(HookFailure::TimedOut(hook.timeout.unwrap_or_default()));
            }
            std::thread::sleep(Duration::from_millis(2));
        },
    };
    if status.success() {
        return Ok(());
    }
    if let Some(signal) = status.signal() {
        return Err(HookFailure::Signaled(signal));
    }
    let mut output = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // What is in the pipe now: a grandchild may hold its other end for ever.
        let _ = rustix::io::ioctl_fionbio(&stderr, true);
        let _ = stderr.take(MAX_OUTPUT).read_to_end(&mut output);
    }
    let output = String::from_utf8_lossy(&output).trim().to_owned();
    Err(HookFailure::Exited(status.code().unwrap_or(-1), output))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(args: &[&str], timeout: Option<i64>) -> Hook {
        let args = args.iter().map(|a| (*a).to_owned()).collect();
        Hook { path: "/bin/sh".into(), args, env: vec!["A=b c".into()], timeout }
    }

    #[test]
    fn state_env_and_argv_arrive() {
        let script = r#"read x; test "$x" = "{1}" && test "$A" = "b c" && test "$0" = name"#;
        run("prestart", &[hook(&["sh", "-c", script, "name"], None)], "{1}\n").unwrap();
    }

    #[test]
    fn failures_say_which_hook_and_how() {
        let hooks =
            [hook(&["sh", "-c", "true"], None), hook(&["sh", "-c", "echo no >&2; exit 3"], None)];
        let e = run("poststop", &hooks, "").unwrap_err().to_string();
        assert!(e.contains("poststop[1]") && e.contains("exit status 3: no"), "{e}");
        let e = run("x", &[hook(&["sh", "-c", "sleep 30"], Some(1))], "").unwrap_err().to_string();
        assert!(e.contains("timed out after 1 s"), "{e}");
        let missing = Hook { path: "/no/such".into(), ..Hook::default() };
        assert!(run("x", &[missing], "").unwrap_err().to_string().contains("no such file"));
    }
}
