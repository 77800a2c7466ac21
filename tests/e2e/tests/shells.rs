//! Unmodified programs do inside what they do on Linux: each script also runs in an ordinary container of
//! the same root, and must write the same and end the same.

use e2e::{MODES, Workbench};
use fixtures::{Bundle, Image, Outcome};

fn same_inside_and_out(workbench: &Workbench, bundle: &Bundle) {
    let ordinary = bundle.ordinary(&workbench.path().join("ordinary")).unwrap();
    let expected = ordinary.run(b"").unwrap();
    assert!(!expected.stdout.is_empty(), "the reference ran: {}", expected.stderr);
    for mode in MODES {
        let got = run_in(bundle, mode);
        let differing =
            expected.stdout.lines().zip(got.stdout.lines()).find(|(one, other)| one != other);
        assert_eq!(differing, None, "{mode}: first difference; stderr: {}", got.stderr);
        assert_eq!(got.stdout, expected.stdout, "{mode}: stderr: {}", got.stderr);
        assert_eq!(got.code, expected.code, "{mode}: stderr: {}", got.stderr);
    }
}

fn run_in(bundle: &Bundle, mode: &str) -> Outcome {
    fixtures::outcome(bundle.run_command().env("RUNE_EMULATOR_MODE", mode), b"").unwrap()
}

#[test]
fn busybox_sh_does_everything_a_shell_does() {
    let Some(workbench) = Workbench::new() else { return };
    let bundle = workbench.busybox("busybox", include_str!("../scripts/busybox.sh"), "");
    same_inside_and_out(&workbench, &bundle);
}

#[test]
fn bash_and_gnu_tools_of_a_debian_root() {
    let Some(workbench) = Workbench::new() else { return };
    let tree = fixtures::debian_tree().unwrap();
    let script = include_str!("../scripts/debian.sh");
    let image = Image::new("debian:test", tree, &["bash", "-c", script]);
    let bundle = workbench.bundle("debian", &image, "");
    same_inside_and_out(&workbench, &bundle);
}

#[test]
fn a_dynamic_musl_program() {
    let Some(workbench) = Workbench::new() else { return };
    let source = include_str!("../../fixtures/programs/musl.c");
    let tree = match fixtures::musl_tree(workbench.path(), source) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("skipped: {error}; install musl-tools");
            return;
        }
    };
    let bundle = workbench.bundle("musl", &Image::new("musl:test", tree, &["/hello"]), "");
    same_inside_and_out(&workbench, &bundle);
}
