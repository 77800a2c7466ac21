//! Progress bars.

use convert::progress::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Duration;

/// A bar on a terminal; nothing elsewhere.
pub(crate) struct Bar {
    is_shown: bool,
    current: Mutex<Option<ProgressBar>>,
}

impl Bar {
    pub(crate) fn new(is_quiet: bool) -> Self {
        let is_shown = !is_quiet && std::io::stderr().is_terminal();
        Self { is_shown, current: Mutex::new(None) }
    }
}

impl Progress for Bar {
    fn stage(&self, name: &str, bytes: Option<u64>) {
        if !self.is_shown {
            return;
        }
        let (bar, template) = match bytes {
            Some(bytes) => {
                let template = "{msg:24} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}";
                (ProgressBar::new(bytes), template)
            }
            None => (ProgressBar::new_spinner(), "{msg:24} {spinner} {bytes}, {bytes_per_sec}"),
        };
        let style = ProgressStyle::with_template(template).expect("the templates are constant");
        bar.set_style(style);
        bar.set_message(name.to_string());
        bar.enable_steady_tick(Duration::from_millis(100));
        if let Some(old) = self.current.lock().expect("no holder panics").replace(bar) {
            old.finish_and_clear();
        }
    }

    fn advance(&self, bytes: u64) {
        if self.is_shown
            && let Some(bar) = &*self.current.lock().expect("no holder panics")
        {
            bar.inc(bytes);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.current.lock().expect("no holder panics").take() {
            bar.finish_and_clear();
        }
    }
}
