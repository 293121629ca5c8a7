//! `--layer`: where it is, and the overlay that a config gets for it.

use crate::container::Layer;
use crate::container::layer::Part;
use crate::container::state::directory::LAYERS;
use crate::error::{Error, Result};
use crate::host::{Host, PLACES_OF_LAYERS};
use crate::spec::found::Found;
use serde_json::{Value, json};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

/// Who serves a layer that the kernel cannot make.
const SERVER: &str = "fuse-overlayfs";

/// The layer that is meant: `tmp`, or a directory.
pub fn choose(asked: &Path, host: &Host) -> Result<Layer> {
    if asked != Path::new("tmp") {
        return Ok(Layer {
            directory: absolute("--layer", asked)?,
            is_temporary: false,
            over: Vec::new(),
            is_served: false,
        });
    }
    let directory = match std::env::var_os("TMPDIR").filter(|path| !path.is_empty()) {
        Some(chosen) => absolute("TMPDIR", Path::new(&chosen))?,
        None => usual_directory(host)?,
    };
    if !directory.is_dir() {
        return Err(Error::new(format!("--layer tmp: {} is no directory", directory.display()))
            .because("TMPDIR says that temporary layers are made there")
            .remedy("make it, or set TMPDIR to another one"));
    }
    // Nobody else's: its name is made by a hasher that starts at random.
    let name = format!("{LAYERS}{:016x}", RandomState::new().hash_one(std::process::id()));
    Ok(Layer { directory: directory.join(name), is_temporary: true, over: Vec::new(), is_served: false })
}

fn absolute(what: &str, path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|error| Error::from_io(format!("{what} {}", path.display()), &error))
}

/// The first directory where the kernel makes layers; if there is none, the first.
fn usual_directory(host: &Host) -> Result<PathBuf> {
    let directories: Vec<_> =
        PLACES_OF_LAYERS.iter().map(PathBuf::from).filter(|directory| directory.is_dir()).collect();
    for directory in &directories {
        if host.obstacle_to_layer(directory)?.is_none() {
            return Ok(directory.clone());
        }
    }
    directories.into_iter().next().ok_or_else(|| Error::new("--layer tmp: there is no /var/tmp").remedy("set TMPDIR"))
}

/// Puts an overlay over the root, as the first of the mounts; the program that serves it, if the kernel cannot.
pub fn cover(config: &mut Value, bundle: &Path, layer: &Layer, host: &Host) -> Result<Option<PathBuf>> {
    let root = bundle.join(config["root"]["path"].as_str().unwrap_or_default());
    let (mounts, server) = overlays(&root, layer, host)?;
    if !config["mounts"].is_array() {
        config["mounts"] = json!([]);
    }
    if let Some(all) = config["mounts"].as_array_mut() {
        all.splice(0..0, mounts);
    }
    Ok(server)
}

/// Puts overlays where these directories would be bound; the program that serves them, if the kernel cannot.
pub fn cover_places(
    config: &mut Value,
    directories: Vec<PathBuf>,
    layer: &mut Layer,
    host: &Host,
) -> Result<Option<PathBuf>> {
    let (directory, name) = (layer.directory.parent(), layer.directory.file_name());
    if let (false, Some(above), Some(name)) = (layer.is_temporary, directory, name) {
        let current = Found::current()?.path;
        let own = match layer.directory.symlink_metadata() {
            Ok(_) => Found::named("--layer", &layer.directory, &current)?.path,
            Err(_) => Found::named("--layer", above, &current)?.path.join(name),
        };
        layer.directory = own;
    }
    for directory in &directories {
        if let Some(below) = host.mount_below(directory)? {
            return Err(Error::new(format!("--layer: {} cannot be covered by a layer", directory.display()))
                .because(format!("{} is mounted below it, and the kernel lays no overlay over that", below.display()))
                .remedy("go to a directory without mounts below it, or leave the layer out"));
        }
    }
    layer.over = directories;
    if layer.over.is_empty() {
        return Err(
            Error::new("--layer: there is nothing that is writable").remedy("give --rw DIR, or leave --layer out")
        );
    }
    let (mounts, server) = overlays(Path::new("/"), layer, host)?;
    layer.is_served = server.is_some();
    for (path, mut mount) in layer.over.iter().zip(mounts) {
        mount["destination"] = json!(path);
        if let Some(options) = mount["options"].as_array_mut() {
            options.extend([json!("nosuid"), json!("nodev")]);
        }
        let binds = config["mounts"].as_array_mut().into_iter().flatten();
        binds.filter(|bind| bind["destination"] == json!(path)).for_each(|bind| *bind = mount.clone());
    }
    Ok(server)
}

/// Gives overlays that have none an upper directory each, by their index among the mounts and what is on top below it.
pub fn cover_sources(
    config: &mut Value,
    directories: &[(usize, PathBuf)],
    layer: &mut Layer,
    host: &Host,
) -> Result<Option<PathBuf>> {
    let absolute = |path: &PathBuf| path.canonicalize().map_err(|error| Error::from_io(path.display(), &error));
    layer.over = directories.iter().map(|(_, path)| absolute(path)).collect::<Result<_>>()?;
    let (mounts, server) = overlays(Path::new("/"), layer, host)?;
    for ((index, _), mount) in directories.iter().zip(mounts) {
        let own = mount["options"].as_array().into_iter().flatten();
        let own: Vec<_> =
            own.filter(|option| option.as_str().is_some_and(|text| !text.starts_with("lowerdir="))).collect();
        if let Some(options) = config["mounts"][*index]["options"].as_array_mut() {
            options.extend(own.into_iter().cloned());
        }
        config["mounts"][*index]["type"] = mount["type"].clone();
    }
    Ok(server)
}

/// The mounts of a layer, all of them at the root.
fn overlays(root: &Path, layer: &Layer, host: &Host) -> Result<(Vec<Value>, Option<PathBuf>)> {
    let parent = layer.directory.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
    let obstacle = host.obstacle_to_layer(parent)?;
    let server = obstacle.as_ref().and_then(|_| host.find_program(SERVER));
    if let (Some(obstacle), None) = (&obstacle, &server) {
        let directory = layer.directory.display();
        return Err(Error::new(format!("--layer: the kernel makes no writable layer in {directory}"))
            .because(obstacle.clone())
            .remedy(format!("name a directory of a local file system (ext4, xfs, btrfs), or install {SERVER}")));
    }
    let version = host.kernel_version()?;
    let option = |key: &str, path: &Path| {
        // As overlayfs and fuse-overlayfs read their options.
        let text = path.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,");
        // Linux 6.5: overlayfs reads its options itself.
        if text.contains(',') && server.is_none() && version < (6, 5) {
            return Err(Error::new(format!("--layer: {} has a comma", path.display()))
                .because("before Linux 6.5, the kernel takes no such path for a layer over the root")
                .remedy("choose another one, or give it by a symlink"));
        }
        match text.len() > 255 {
            false => Ok(format!("{key}={text}")),
            true => Err(Error::new(format!("--layer: {} is longer than 255 bytes", path.display()))
                .because("the kernel takes no longer path for a layer over the root")
                .remedy("choose a shorter one (TMPDIR, for `--layer tmp`), or give it by a symlink")),
        }
    };
    let kind = if server.is_some() { format!("fuse.{SERVER}") } else { "overlay".to_owned() };
    let mount = |part: Part| {
        let mut options =
            vec![option("lowerdir", &part.lower)?, option("upperdir", &part.upper)?, option("workdir", &part.work)?];
        if layer.is_temporary && server.is_none() {
            // Nobody reads it after a crash (Linux 5.10).
            options.push("volatile".to_owned());
        }
        Ok(json!({ "destination": "/", "type": kind, "source": "layer", "options": options }))
    };
    let mounts = layer.parts(root).into_iter().map(mount).collect::<Result<_>>()?;
    Ok((mounts, server))
}
