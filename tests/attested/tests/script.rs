//! The script, whole, with the programs that were built.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

#[test]
fn the_right_container_is_accepted_and_everything_else_is_refused_by_name() {
    if !Path::new("/proc/self").metadata().is_ok_and(|metadata| metadata.uid() == 0) {
        eprintln!("skipped: making a container needs root here");
        return;
    }
    let programs = fixtures::program_directory();
    let directory = tempfile::tempdir().unwrap();
    let mut lines = Vec::new();
    let done = attested::run(&programs, directory.path(), &mut |line| lines.push(line.to_owned()));
    done.unwrap_or_else(|failure| panic!("{failure}\nafter:\n{}", lines.join("\n")));
    let refusals = lines.iter().filter(|line| line.contains("refused")).count();
    // Two need an address that is not loopback's.
    let expected = if lines.iter().any(|line| line.starts_with("skipped")) { 11 } else { 13 };
    assert_eq!(refusals, expected, "{lines:#?}");
}
