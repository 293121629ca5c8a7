//! Idmapped mounts: binds whose ids are others than the host's (config.md, mounts; crun's `idmap=uids=...;gids=...`).

use super::options::Options;
use crate::error::Result;
use crate::plan::step::trees::Mapped;
use crate::property::{Planner, id_mappings};
use crate::spec::{IdMapping, Mount};
use std::ffi::CString;

/// Whether a mount asks for it.
pub fn is_mapped(mount: &Mount, options: &Options) -> bool {
    options.id_mapped.is_some() || !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty()
}

/// A mapped mount is opened by the parent, whose privileges reach the file system.
pub fn plan(planner: &Planner, mount: &Mount, options: &Options, source: CString) -> Result<Mapped> {
    if planner.host.is_ordinary_user() || !planner.host.in_initial_user_namespace()? {
        return Err(planner
            .error("an ordinary user cannot map the ids of a mount")
            .because("the kernel lets only the owner of the file system do that, which is the host's root")
            .remedy(
                "take idmap and the mappings out; with one mapped id, your own files are root's in the container",
            ));
    }
    let linux = planner.spec.linux();
    let (mut own_uids, mut own_gids) = (mount.uid_mappings.to_vec(), mount.gid_mappings.to_vec());
    for part in options.id_maps.iter().flat_map(|maps| maps.split(';')).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some(("uids", ranges)) => own_uids = parse(planner, ranges, &linux.uid_mappings)?,
            Some(("gids", ranges)) => own_gids = parse(planner, ranges, &linux.gid_mappings)?,
            _ => return Err(wrong(planner, part)),
        }
    }
    // Without mappings of its own, it has those of the container, which may be in a namespace that is joined.
    let has_none = own_uids.is_empty() && own_gids.is_empty();
    let or = |own: Vec<IdMapping>, container: &[IdMapping]| if own.is_empty() { container.to_vec() } else { own };
    let (uids, gids) = (or(own_uids, &linux.uid_mappings), or(own_gids, &linux.gid_mappings));
    let maps = if has_none && planner.has_other_user_namespace() {
        None
    } else if uids.is_empty() || gids.is_empty() {
        return Err(planner
            .error("idmap without mappings")
            .because("neither the mount nor the container says which ids become which")
            .remedy("add uidMappings and gidMappings to the mount"));
    } else {
        for (name, mappings) in [("uidMappings", &uids), ("gidMappings", &gids)] {
            id_mappings::check(&format!("{}.{name}", planner.current), mappings)?;
        }
        Some((id_mappings::text(&uids), id_mappings::text(&gids)))
    };
    Ok(Mapped {
        source,
        recursive: options.bind == Some(true),
        map_recursively: options.id_mapped == Some(true),
        maps,
        locked: planner.has_other_user_namespace(),
    })
}

/// crun's ranges: `FILE-HOST-SIZE` between `#`; with `@` in front, the host's id is meant as the container's.
fn parse(planner: &Planner, ranges: &str, container: &[IdMapping]) -> Result<Vec<IdMapping>> {
    let range = |text: &str| {
        let mut numbers = text.trim_start_matches('@').splitn(3, '-').map(|number| number.parse::<u32>().ok());
        let numbers = [numbers.next().flatten(), numbers.next().flatten(), numbers.next().flatten()];
        let [Some(container_id), Some(host), Some(size)] = numbers else { return Err(wrong(planner, text)) };
        let host_id = if text.starts_with('@') { host_id(planner, host, container)? } else { host };
        Ok(IdMapping { container_id, host_id, size })
    };
    ranges.split('#').map(range).collect()
}

fn host_id(planner: &Planner, id: u32, container: &[IdMapping]) -> Result<u32> {
    id_mappings::find_mapped(container, id).ok_or_else(|| {
        planner
            .error(format!("idmap: @ is meant for ids of the container, and {id} is none"))
            .remedy("choose one of linux.uidMappings and linux.gidMappings, or leave @ out")
    })
}

fn wrong(planner: &Planner, part: &str) -> crate::error::Error {
    planner.error(format!("idmap: {part:?} is no list of ranges")).remedy(
        "write uids=FILE-HOST-SIZE#...;gids=FILE-HOST-SIZE#..., such as idmap=uids=0-100000-65536;gids=0-100000-65536",
    )
}
