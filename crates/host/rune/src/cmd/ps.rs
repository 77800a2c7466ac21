//! `ps`: the processes of a container.

use super::Command;
use crate::args::{Args, End, Opt, Usage, value};
use crate::failure::{Failure, Outcome};
use crate::global::Globals;
use container::state::Directory;
use std::process::Command as Program;

const OPTIONS: [Opt; 1] = [value("format", Some('f'), "table or json (table)")];

pub(crate) const COMMAND: Command = Command {
    name: "ps",
    usage: "[options] ID [OPTIONS OF PS]",
    about: "list the processes of a container",
    options: &OPTIONS,
    end: End::SecondWord,
    enters_container: false,
    run,
};

fn run(globals: &Globals, args: &Args) -> Outcome {
    let directory = Directory::open(&globals.root, args.only_word()?)?;
    let state = directory.state()?;
    let pids = container::processes(&state);
    match args.get("format") {
        Some("json") => {
            println!("{}", serde_json::json!(pids));
            return Ok(0);
        }
        None | Some("table") => {}
        Some(other) => {
            let got = other.to_owned();
            return Err(
                Usage::Bad { option: "--format".into(), expected: "table or json", got }.into()
            );
        }
    }
    let default = ["-ef".to_owned()];
    let ps_args = if args.rest.is_empty() { &default[..] } else { &args.rest };
    let output = Program::new("ps")
        .args(ps_args)
        .output()
        .map_err(|e| Failure::new(format!("run ps: {e}; --format json needs no ps")))?;
    if !output.status.success() {
        return Err(Failure::new(String::from_utf8_lossy(&output.stderr).trim()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    match filter(&text, &pids) {
        Some(text) => print!("{text}"),
        None => return Err(Failure::new("the output of ps has no PID column")),
    }
    Ok(0)
}

/// The heading and the lines of these processes.
fn filter(text: &str, pids: &[i32]) -> Option<String> {
    let mut lines = text.lines();
    let heading = lines.next()?;
    let column = heading.split_whitespace().position(|c| c == "PID")?;
    let mut out = format!("{heading}\n");
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|c| c.parse::<i32>().ok());
        if pid.is_some_and(|p| pids.contains(&p)) {
            out.push_str(line);
            out.push('\n');
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_containers_lines_stay() {
        let text = "UID  PID PPID\nroot 12 1\nroot 7 12\n";
        assert_eq!(super::filter(text, &[7]).unwrap(), "UID  PID PPID\nroot 7 12\n");
        assert!(super::filter("X Y\n", &[7]).is_none());
    }
}
