//! /proc/PID/mounts and mountinfo.

use crate::fs::context::Caller;
use crate::fs::pseudo::Entry;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;

pub(super) fn mounts() -> Entry {
    Entry::Text(Box::new(|caller: &Caller| {
        let mut out = String::new();
        for mount in caller.fs.namespace.mounts() {
            let (source, kind) = (escape(&mount.source), &mount.fs_type);
            let options = mount.flags.options();
            let _ = writeln!(out, "{source} {} {kind} {options} 0 0", escape(&mount.path));
        }
        Ok(out.into_bytes())
    }))
}

pub(super) fn mountinfo() -> Entry {
    Entry::Text(Box::new(|caller: &Caller| {
        let mut out = String::new();
        for mount in caller.fs.namespace.mounts() {
            let parent = mount.at.as_ref().map_or(mount.id, |(parent, _)| parent.id);
            let dev = mount.root.key().0;
            let device = format!("{}:{}", (dev >> 8) & 0xfff, dev & 0xff);
            let options = mount.flags.options();
            let super_options = if mount.flags.is_read_only { "ro" } else { "rw" };
            let (source, kind, path) = (escape(&mount.source), &mount.fs_type, escape(&mount.path));
            let _ = writeln!(
                out,
                "{} {parent} {device} / {path} {options} - {kind} {source} {super_options}",
                mount.id
            );
        }
        Ok(out.into_bytes())
    }))
}

/// Space, tab, newline and backslash as octal, as getmntent(3) reads them.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            ' ' | '\t' | '\n' | '\\' => {
                let _ = write!(out, "\\{:03o}", character as u32);
            }
            _ => out.push(character),
        }
    }
    out
}
