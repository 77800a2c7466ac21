//! `list`: all containers.

use super::{Command, state};
use crate::args::{Args, End, Opt, Usage, switch, value};
use crate::failure::Outcome;
use crate::global::Globals;
use container::{life, state::Status};

const OPTIONS: [Opt; 2] =
    [value("format", Some('f'), "table or json (table)"), switch("quiet", Some('q'), "ids only")];

pub(crate) const COMMAND: Command = Command {
    name: "list",
    usage: "[options]",
    about: "list containers",
    options: &OPTIONS,
    end: End::Never,
    enters_container: false,
    run,
};

fn run(globals: &Globals, args: &Args) -> Outcome {
    let containers = life::list(&globals.root)?;
    if args.is("quiet") {
        for (state, _) in &containers {
            println!("{}", state.id);
        }
        return Ok(0);
    }
    match args.get("format") {
        Some("json") => {
            let all: Vec<_> =
                containers.iter().map(|(s, status)| state::json(s, *status)).collect();
            println!("{}", serde_json::json!(all));
        }
        None | Some("table") => {
            let mut rows =
                vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(String::from)];
            for (s, status) in containers {
                let pid = if status == Status::Stopped { 0 } else { s.pid };
                let bundle = s.bundle.display().to_string();
                rows.push([
                    s.id,
                    pid.to_string(),
                    status.name().into(),
                    bundle,
                    s.created,
                    s.owner,
                ]);
            }
            print!("{}", table(&rows));
        }
        Some(other) => {
            let got = other.to_owned();
            return Err(
                Usage::Bad { option: "--format".into(), expected: "table or json", got }.into()
            );
        }
    }
    Ok(0)
}

/// Columns at least twelve wide, three blanks apart, as runc prints them.
fn table(rows: &[[String; 6]]) -> String {
    let mut widths = [0usize; 6];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + 3).max(12);
        }
    }
    let mut out = String::new();
    for row in rows {
        for (index, (width, cell)) in widths.iter().zip(row).enumerate() {
            if index == 5 {
                out.push_str(cell);
            } else {
                out.push_str(&format!("{cell:<width$}"));
            }
        }
        out.push('\n');
    }
    out
}
