//! Which image: from an index to a manifest to its configuration and its layers (image-spec, image-index.md and manifest.md;
//! Docker's schema 2 is alike), or from the manifest.json of `docker save`. oci-spec has types for it, which bring 1.4 MB of
//! regular expressions; what is read of it is here.

use super::blobs::Blobs;
use super::digest::hexadecimal;
use super::failure::{no_image, wrong_digest};
use super::source::{Form, Source};
use crate::error::{Error, Result};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A machine that an image is for, by Go's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// GOOS.
    pub os: String,
    /// GOARCH.
    pub architecture: String,
    /// Such as `v8`.
    pub variant: Option<String>,
}

impl Platform {
    /// The platform of this machine.
    pub fn here() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        };
        Platform { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: None }
    }

    /// Reads `OS/ARCHITECTURE[/VARIANT]`.
    pub fn parse(text: &str) -> Result<Platform> {
        let mut parts = text.split('/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(os), Some(architecture), variant, None) if os == "linux" && !architecture.is_empty() => {
                Ok(Platform { os, architecture, variant })
            }
            _ => Err(Error::new(format!("--platform {text:?} is no platform of Linux"))
                .remedy("write linux/amd64, or linux/arm64")),
        }
    }

    fn suits(&self, wanted: &Platform) -> bool {
        let is_variant = wanted.variant.is_none() || self.variant.is_none() || self.variant == wanted.variant;
        self.os == wanted.os && self.architecture == wanted.architecture && is_variant
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: Option<String>,
    digest: String,
    platform: Option<Platform>,
    annotations: Option<BTreeMap<String, String>>,
}

/// An index or a manifest: by what it has, as the media type may be missing.
#[derive(Debug, Deserialize)]
struct Document {
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

/// An entry of manifest.json.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The configuration of an image (image-spec, config.md).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    /// For whom it is, as in [`Platform`].
    os: String,
    architecture: String,
    variant: Option<String>,
    /// When it was made.
    pub created: Option<String>,
    /// Name of its author.
    pub author: Option<String>,
    /// What a container of the image runs, and how.
    pub config: Option<Process>,
    rootfs: RootFs,
}

impl Config {
    /// The platform that the image is for.
    pub fn platform(&self) -> Platform {
        Platform { os: self.os.clone(), architecture: self.architecture.clone(), variant: self.variant.clone() }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RootFs {
    diff_ids: Option<Vec<String>>,
}

/// What a container of an image does.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs)] // config.md
pub struct Process {
    pub user: Option<String>,
    pub exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    pub env: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub volumes: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    pub working_dir: Option<String>,
    pub labels: Option<BTreeMap<String, String>>,
    pub stop_signal: Option<String>,
}

/// A layer, from below.
#[derive(Debug)]
pub struct Layer {
    /// Name of the image, for messages.
    pub name: String,
    /// The name of its part.
    pub part: String,
    /// The digest of the part, in hexadecimal.
    pub digest: Option<String>,
    /// The digest of what it unpacks to.
    pub diff_id: Option<String>,
}

/// An image that was chosen.
#[derive(Debug)]
pub struct Image {
    /// What it says of itself; a root file system says nothing.
    pub config: Config,
    /// Layers, the lowest first.
    pub layers: Vec<Layer>,
    /// Whether names that begin with `.wh.` remove what is below.
    pub has_whiteouts: bool,
}

/// How deep indexes may lie in each other.
const DEPTH: usize = 4;

/// Finds the image that is meant.
pub fn choose(blobs: &Blobs, source: &Source, platform: &Platform) -> Result<Image> {
    let mut image = match blobs.form() {
        Form::Layout | Form::OciArchive => {
            let index: Document = parse(blobs, "index.json", &blobs.text("index.json")?)?;
            let descriptor = named(blobs, index.manifests.unwrap_or_default(), source, platform)?;
            follow(blobs, descriptor, platform)?
        }
        Form::DockerArchive => saved(blobs, source)?,
        Form::Any => {
            let layer = Layer { name: "a root file system".into(), part: String::new(), digest: None, diff_id: None };
            return Ok(Image { config: Config::default(), layers: vec![layer], has_whiteouts: false });
        }
    };
    let is_for = image.config.platform();
    if !is_for.architecture.is_empty() && !is_for.suits(platform) {
        return Err(Error::new(format!(
            "{}: the image is for {is_for}, and not for {platform}",
            blobs.path().display()
        ))
        .because("its programs would not run here, unless something emulates that machine")
        .remedy(format!("fetch it for {platform}, or give --platform {is_for}")));
    }
    let ids = image.config.rootfs.diff_ids.take().unwrap_or_default();
    if ids.len() != image.layers.len() {
        return Err(no_image(
            blobs.path(),
            &format!("has {} layers, and its configuration names {}", image.layers.len(), ids.len()),
        ));
    }
    for (layer, id) in image.layers.iter_mut().zip(ids) {
        layer.diff_id = Some(number_of(blobs, &id)?.to_owned());
    }
    Ok(image)
}

fn parse<'a, T: Deserialize<'a>>(blobs: &Blobs, name: &str, text: &'a [u8]) -> Result<T> {
    serde_json::from_slice(text)
        .map_err(|error| no_image(blobs.path(), &format!("has a {name} that says nothing: {error}")))
}

/// The number of a digest: `sha256:` and 64 digits.
fn number_of<'a>(blobs: &Blobs, digest: &'a str) -> Result<&'a str> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    digest
        .strip_prefix("sha256:")
        .filter(|number| number.len() == 64 && number.bytes().all(is_digit))
        .ok_or_else(|| no_image(blobs.path(), &format!("names something by {digest:?}, which is no sha256")))
}

/// The text of a part, whose digest is verified.
fn verified(blobs: &Blobs, digest: &str) -> Result<Vec<u8>> {
    let number = number_of(blobs, digest)?;
    let text = blobs.text(&format!("blobs/sha256/{number}"))?;
    match hexadecimal(&Sha256::digest(&text)) == number {
        true => Ok(text),
        false => Err(wrong_digest(&format!("{}: {digest}", blobs.path().display()))),
    }
}

/// Where names of images are in an index: image-layout.md, and containerd's for whole references.
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

fn named(blobs: &Blobs, all: Vec<Descriptor>, source: &Source, platform: &Platform) -> Result<Descriptor> {
    let names = |one: &Descriptor| -> Vec<String> {
        NAMES.iter().filter_map(|name| one.annotations.as_ref()?.get(*name).cloned()).collect()
    };
    let known: Vec<String> = all.iter().flat_map(names).filter(|name| !name.is_empty()).collect();
    let (path, count) = (blobs.path().display(), all.len());
    let prefix = if matches!(blobs, Blobs::Directory(..)) { "oci" } else { "oci-archive" };
    let several = |is: String| {
        let error = Error::new(format!("{path} {is}"));
        match known.first() {
            None => error.because("its images have no names"),
            Some(first) => error.remedy(format!("name one of {}, as in {prefix}:{path}:{first}", few(&known))),
        }
    };
    match &source.name {
        Some(name) => {
            let is_meant = |one: &Descriptor| names(one).iter().any(|known| known == name);
            let mut meant: Vec<_> = all.into_iter().filter(is_meant).collect();
            if meant.len() > 1 {
                return suitable(blobs, meant, platform);
            }
            meant.pop().ok_or_else(|| several(format!("has no image of the name {name:?}")))
        }
        None if all.len() < 2 => all.into_iter().next().ok_or_else(|| no_image(blobs.path(), "has no image in it")),
        None if all.iter().all(|one| one.platform.is_some()) && known.is_empty() => suitable(blobs, all, platform),
        None => match all.into_iter().find(|one| names(one).iter().any(|name| name == "latest")) {
            Some(latest) => Ok(latest),
            None => Err(several(format!("has {count} images"))),
        },
    }
}

/// Some of many names.
fn few(names: &[String]) -> String {
    let some: Vec<&str> = names.iter().take(10).map(String::as_str).collect();
    some.join(", ") + if names.len() > some.len() { ", ..." } else { "" }
}

/// The one for a machine.
fn suitable(blobs: &Blobs, all: Vec<Descriptor>, platform: &Platform) -> Result<Descriptor> {
    let there: Vec<String> = all.iter().filter_map(|one| Some(one.platform.as_ref()?.to_string())).collect();
    let suits = |one: &Descriptor| one.platform.as_ref().is_none_or(|known| known.suits(platform));
    all.into_iter().find(suits).ok_or_else(|| {
        Error::new(format!("{} has no image for {platform}", blobs.path().display()))
            .because(format!("it has them for {}", there.join(", ")))
            .remedy("name one of these with --platform, if something emulates that machine")
    })
}

/// From a descriptor to the image, through indexes for several machines.
fn follow(blobs: &Blobs, mut descriptor: Descriptor, platform: &Platform) -> Result<Image> {
    for _ in 0..DEPTH {
        let text = verified(blobs, &descriptor.digest)?;
        let document: Document = parse(blobs, &descriptor.digest, &text)?;
        match document {
            Document { config: Some(config), layers: Some(layers), .. } => {
                let text = verified(blobs, &config.digest)?;
                let config = parse(blobs, "configuration", &text)?;
                let layers = layers.into_iter().map(|layer| layer_of(blobs, &layer)).collect::<Result<_>>()?;
                return Ok(Image { config, layers, has_whiteouts: true });
            }
            Document { manifests: Some(manifests), .. } if !manifests.is_empty() => {
                descriptor = suitable(blobs, manifests, platform)?;
            }
            _ => {
                return Err(no_image(blobs.path(), "has a manifest without layers")
                    .because("Docker's schema 1, and artifacts that are no images, are not unpacked"));
            }
        }
    }
    Err(no_image(blobs.path(), &format!("has indexes in indexes, more than {DEPTH}")))
}

fn layer_of(blobs: &Blobs, layer: &Descriptor) -> Result<Layer> {
    let number = number_of(blobs, &layer.digest)?;
    let kind = layer.media_type.as_deref().unwrap_or("application/vnd.oci.image.layer.v1.tar");
    // Compression is seen, not believed: types of old images are wrong about it.
    let is_known = kind.starts_with("application/vnd.oci.image.layer.")
        || matches!(
            kind,
            "application/vnd.docker.image.rootfs.diff.tar.gzip" | "application/vnd.docker.image.rootfs.diff.tar"
        )
        || kind.starts_with("application/vnd.docker.image.rootfs.diff.tar.");
    if !is_known || kind.ends_with("+encrypted") {
        return Err(no_image(blobs.path(), &format!("has a layer of the type {kind:?}"))
            .because("a layer is a tar archive, plain or compressed by gzip or zstd"));
    }
    let name = format!("sha256:{}", number.get(..12).unwrap_or_default());
    Ok(Layer { name, part: format!("blobs/sha256/{number}"), digest: Some(number.to_owned()), diff_id: None })
}

/// What `docker save` has written.
fn saved(blobs: &Blobs, source: &Source) -> Result<Image> {
    let text = blobs.text("manifest.json")?;
    let all: Vec<Saved> = parse(blobs, "manifest.json", &text)?;
    let known: Vec<String> = all.iter().flat_map(|one| one.repo_tags.iter().flatten().cloned()).collect();
    let is_meant = |one: &Saved| match &source.name {
        None => true,
        // As docker has it: what has no tag is the latest.
        Some(name) => one.repo_tags.iter().flatten().any(|tag| {
            let short =
                ["docker.io/library/", "docker.io/", "localhost/"].iter().find_map(|prefix| tag.strip_prefix(prefix));
            [Some(tag.as_str()), short].into_iter().flatten().any(|tag| tag == name || *tag == format!("{name}:latest"))
        }),
    };
    let count = all.len();
    let mut meant = all.into_iter().filter(is_meant);
    let first = known.first().map_or("NAME", String::as_str);
    let choice = || format!("name one of {}, as in docker-archive:{}:{first}", few(&known), blobs.path().display());
    let chosen = match (meant.next(), &source.name) {
        (Some(_), None) if count > 1 => {
            return Err(Error::new(format!("{} has {count} images", blobs.path().display())).remedy(choice()));
        }
        (Some(chosen), _) => chosen,
        (None, Some(name)) => {
            return Err(
                Error::new(format!("{} has no image of the name {name:?}", blobs.path().display())).remedy(choice())
            );
        }
        (None, None) => return Err(no_image(blobs.path(), "has no image in it")),
    };
    let text = blobs.text(&chosen.config)?;
    // It is called by its digest, with `.json` behind it in older archives.
    let name = chosen.config.trim_end_matches(".json").rsplit('/').next().unwrap_or_default();
    if name.len() == 64 && hexadecimal(&Sha256::digest(&text)) != name {
        return Err(wrong_digest(&format!("{}: {}", blobs.path().display(), chosen.config)));
    }
    let config = parse(blobs, "configuration", &text)?;
    let layer = |(number, part): (usize, String)| {
        let name = part.trim_start_matches("blobs/sha256/").get(..12).unwrap_or(&part).to_owned();
        Layer { name: format!("{} {name}", number + 1), part, digest: None, diff_id: None }
    };
    Ok(Image { config, layers: chosen.layers.into_iter().enumerate().map(layer).collect(), has_whiteouts: true })
}
