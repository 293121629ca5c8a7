//! Engines that drive rootlet as they drive runc, in their versions of Debian. They need the engines' guest of `scripts/vm`,
//! which `scripts/test --engines` runs them in.

use crate::sandbox::{is_root, skip};

/// True where the engines are installed and may be used; elsewhere the reason is noted.
pub fn have_engines() -> bool {
    let has = std::env::var_os("ROOTLET_ENGINES").is_some() && is_root();
    if !has {
        skip("needs engines: scripts/test --engines");
    }
    has
}
