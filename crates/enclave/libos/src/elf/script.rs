//! Scripts: `#!interpreter [argument]`.

/// Bytes of a file that the line may take (BINPRM_BUF_SIZE).
pub const HEAD_SIZE: usize = 256;

/// What a script's first line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script<'a> {
    /// Path of the interpreter.
    pub interpreter: &'a [u8],
    /// The rest of the line, one argument whatever it holds.
    pub argument: Option<&'a [u8]>,
}

/// Reads the first line out of the first [`HEAD_SIZE`] bytes of a file (fewer if it is shorter). None where
/// it is not a script, or names no whole interpreter.
#[must_use]
pub fn script(head: &[u8]) -> Option<Script<'_>> {
    let rest = head.strip_prefix(b"#!")?;
    let end = rest.iter().position(|&byte| byte == b'\n' || byte == 0);
    let line = trim(&rest[..end.unwrap_or(rest.len())]);
    let split = line.iter().position(is_blank);
    if split.is_none() && end.is_none() && head.len() >= HEAD_SIZE {
        return None; // the path is cut short
    }
    let (interpreter, argument) = line.split_at(split.unwrap_or(line.len()));
    let argument = trim(argument);
    (!interpreter.is_empty())
        .then_some(Script { interpreter, argument: (!argument.is_empty()).then_some(argument) })
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn trim(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !is_blank(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_linux_reads_them() {
        let parts =
            |head: &'static [u8]| script(head).map(|script| (script.interpreter, script.argument));
        assert_eq!(parts(b"#!/bin/sh\nexit"), Some((&b"/bin/sh"[..], None)));
        assert_eq!(parts(b"#! /bin/sh"), Some((&b"/bin/sh"[..], None)));
        assert_eq!(
            parts(b"#!/usr/bin/env  -S a b \t\n"),
            Some((&b"/usr/bin/env"[..], Some(&b"-S a b"[..])))
        );
        assert_eq!(parts(b"#!\n/bin/sh"), None);
        assert_eq!(parts(b"\x7fELF"), None);
        assert_eq!(parts(b""), None);
    }

    #[test]
    fn a_path_cut_short_is_no_interpreter() {
        let mut head = [b'a'; HEAD_SIZE];
        head[..2].copy_from_slice(b"#!");
        assert_eq!(script(&head), None);
        head[100] = b' ';
        assert_eq!(script(&head).unwrap().interpreter.len(), 98);
    }
}
