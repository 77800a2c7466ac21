//! Descriptions a thread has at hand: those it used last, found again without locks or counting.
//!
//! Keeping a description keeps a file open. So only a thread that is alone with its descriptor table may
//! keep one, as Linux counts no reference then either, and it lets go of it before the table is changed:
//! what is closed is closed at once.

use super::fd::{Known, OpenFile};
use alloc::boxed::Box;
use core::cell::Cell;

/// Descriptors whose numbers differ by a multiple of this take each other's place.
const ROOM: usize = 8;

/// Room for some descriptions. Boxed, so that taking one and putting it back moves a word.
#[derive(Default)]
pub struct Hand([Cell<Option<Box<Known>>>; ROOM]);

impl Hand {
    /// Takes the description behind `fd`, if it is at hand.
    #[must_use]
    pub fn take(&self, fd: i32) -> Option<Box<Known>> {
        self.place(fd).take().filter(|known| known.is(fd))
    }

    /// Uses a description, which is at hand afterwards. Meanwhile it is not: what `body` calls may look at
    /// descriptors, and at this one too.
    pub fn lend<R>(&self, known: Box<Known>, body: impl FnOnce(&OpenFile) -> R) -> R {
        let result = body(&known.file);
        if known.is_current() {
            self.place(known.fd()).set(Some(known));
        }
        result
    }

    fn place(&self, fd: i32) -> &Cell<Option<Box<Known>>> {
        &self.0[fd as usize % ROOM]
    }

    /// Lets go.
    pub fn clear(&self) {
        self.0.iter().for_each(|place| place.set(None));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::eventfd::EventFd;
    use crate::fs::fd::Table;
    use crate::fs::flags::O_RDONLY;
    use crate::fs::testing::TestTask;
    use alloc::sync::Arc;

    fn table() -> (Table, Arc<OpenFile>) {
        let file = OpenFile::new(EventFd::new(0, false), None, O_RDONLY);
        let table = Table::new();
        table.insert(file.clone(), false, 0, 10).unwrap();
        (table, file)
    }

    #[test]
    fn what_is_at_hand_is_found_until_the_table_changes() {
        let (table, file) = table();
        let hand = Hand::default();
        let is_it = |open: &OpenFile| open.id() == file.id();
        assert!(hand.take(0).is_none(), "nothing was looked up yet");
        assert!(hand.lend(Box::new(table.get_known(0).unwrap()), is_it));
        for _ in 0..2 {
            let known = hand.take(0).expect("it was put back");
            assert!(hand.lend(known, is_it));
        }
        assert!(hand.take(1).is_none());
        assert!(hand.take(ROOM as i32).is_none(), "whose place it takes");
        assert!(hand.lend(Box::new(table.get_known(0).unwrap()), is_it));
        table.close(0).unwrap();
        assert!(hand.take(0).is_none());
        assert_eq!(Arc::strong_count(&file), 1, "and it is not kept open");
    }

    #[test]
    fn what_is_closed_while_in_use_is_not_kept() {
        let (table, file) = table();
        let hand = Hand::default();
        hand.lend(Box::new(table.get_known(0).unwrap()), |_| table.close(0).unwrap());
        assert_eq!(Arc::strong_count(&file), 1);
    }

    #[test]
    fn a_path_is_no_file() {
        let task = TestTask::empty();
        let path = OpenFile::new(EventFd::new(0, false), None, crate::fs::flags::O_PATH);
        let fd = task.files.insert(path, false, 0, 10).unwrap();
        assert!(task.files.get_known(fd).is_err());
    }
}
