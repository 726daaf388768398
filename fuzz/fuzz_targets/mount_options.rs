//! Any words as the options of a mount.
#![no_main]

use crust::config::mount_options;
use crust::error::Field;
use crust::sys::mount::ATIME;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let words: Vec<String> = text.split(',').map(String::from).collect();
    let Ok(options) = mount_options::parse(&Field::from("mounts[0].options"), &words) else { return };
    let attributes = options.attributes;
    assert_eq!(attributes.set & attributes.clear & !ATIME, 0, "set and cleared: {options:?}");
});
