//! `inclavare image pack`

use super::open;
use crate::args::Pack;
use crate::failure::Failure;
use crate::progress::Bar;
use convert::Input;
use convert::attester::PROGRAM;
use convert::hash::Pool;
use convert::layer::Limits;
use convert::output::write_image;

pub(crate) fn run(arguments: &Pack, bar: Bar) -> Result<(), Failure> {
    let pack = convert::pack::Pack::find(&arguments.pack)?;
    pack.check_side_data()?;
    let input = open(&arguments.source)?;
    let Input::Image(image) = &input else {
        let path = arguments.source.image.display();
        return Err(Failure::Refused(format!(
            "{path}: expected an image to add a layer to, got a rootfs directory"
        )));
    };
    // A pack of another image would be refused only when it runs.
    let attester = attester(&pack)?;
    let root = input.root(attester.as_deref(), Limits::default(), Pool::default(), &bar)?;
    let (expected, got) = (pack.manifest.root.digest, root.blob.tree.digest);
    if expected != got {
        return Err(Failure::Refused(format!(
            "root digest of the image: expected {expected} as the pack has, got {got}"
        )));
    }
    let digest = write_image(image, &pack, &arguments.name, &arguments.output)?;
    drop(bar);
    println!("image     sha256:{digest}");
    println!("mrenclave {}", pack.contents.mrenclave);
    Ok(())
}

/// The attester's program that the pack brings, if it has one. The root digest covers it.
fn attester(pack: &convert::pack::Pack) -> Result<Option<Vec<u8>>, Failure> {
    if pack.manifest.attester.is_none() {
        return Ok(None);
    }
    let path = pack.directory.join(PROGRAM);
    std::fs::read(&path).map(Some).map_err(Failure::io("read", &path))
}
