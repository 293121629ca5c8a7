//! Images, as tests make them: layers byte by byte, and the layouts and archives that hold them.

use crate::sandbox::Sandbox;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// A layer that is being written.
pub struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    pub fn new() -> Layer {
        Layer(tar::Builder::new(Vec::new()))
    }

    /// Any entry; its name is written as it is, whatever it leads to.
    pub fn entry(mut self, kind: EntryType, name: &str, mode: u32, target: &str, data: &[u8]) -> Layer {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_600_000_000);
        header.set_size(data.len() as u64);
        header.set_uid(0);
        header.set_gid(0);
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        self.0.append(&header, data).unwrap();
        self
    }

    pub fn directory(self, name: &str, mode: u32) -> Layer {
        self.entry(EntryType::Directory, name, mode, "", b"")
    }

    pub fn file(self, name: &str, text: &str) -> Layer {
        self.entry(EntryType::Regular, name, 0o644, "", text.as_bytes())
    }

    pub fn program(self, name: &str, bytes: &[u8]) -> Layer {
        self.entry(EntryType::Regular, name, 0o755, "", bytes)
    }

    pub fn symlink(self, name: &str, target: &str) -> Layer {
        self.entry(EntryType::Symlink, name, 0o777, target, b"")
    }

    pub fn link(self, name: &str, target: &str) -> Layer {
        self.entry(EntryType::Link, name, 0o644, target, b"")
    }

    /// Extended headers of the next entry.
    pub fn extended(mut self, headers: &[(&str, &[u8])]) -> Layer {
        self.0.append_pax_extensions(headers.iter().copied()).unwrap();
        self
    }

    /// Changes the header of an entry in full.
    pub fn raw(mut self, header: &Header, data: &[u8]) -> Layer {
        self.0.append(header, data).unwrap();
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// The header of a file of one byte that is called `owned`.
pub fn owned(mode: u32, uid: u64, gid: u64, modified: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(mode);
    header.set_uid(uid);
    header.set_gid(gid);
    header.set_mtime(modified);
    header.set_size(1);
    header.as_gnu_mut().unwrap().name[..5].copy_from_slice(b"owned");
    header.set_cksum();
    header
}

/// A root with a shell.
pub fn base() -> Layer {
    let busybox = fs::read("/bin/busybox").unwrap();
    let layer = Layer::new().directory("./", 0o755).directory("bin/", 0o755).program("bin/busybox", &busybox);
    let layer = ["sh", "id", "cat", "ls", "env", "pwd", "stat"]
        .iter()
        .fold(layer, |layer, name| layer.symlink(&format!("bin/{name}"), "busybox"));
    layer.directory("etc/", 0o755).file("etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/srv:/bin/sh\n")
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

pub fn digest(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// An OCI layout in a directory.
pub struct Layout(pub PathBuf);

impl Layout {
    pub fn new(sandbox: &Sandbox, name: &str) -> Layout {
        let layout = Layout(sandbox.path().join(name));
        fs::create_dir_all(layout.0.join("blobs/sha256")).unwrap();
        fs::write(layout.0.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        layout
    }

    pub fn blob(&self, kind: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        fs::write(self.0.join("blobs").join(digest.replace(':', "/")), bytes).unwrap();
        json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": bytes.len()})
    }

    /// An image of layers, each plain and as it is kept; its descriptor.
    pub fn image(&self, layers: &[(Vec<u8>, Vec<u8>)], mut config: Value) -> Value {
        let ids: Vec<_> = layers.iter().map(|(plain, _)| digest(plain)).collect();
        config["rootfs"] = json!({"type": "layers", "diff_ids": ids});
        let config = self.blob("config.v1+json", config.to_string().as_bytes());
        let layers: Vec<_> = layers.iter().map(|(_, kept)| self.blob("layer.v1.tar", kept)).collect();
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers});
        self.blob("manifest.v1+json", manifest.to_string().as_bytes())
    }

    pub fn index(&self, manifests: &[Value]) -> &Layout {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        fs::write(self.0.join("index.json"), index.to_string()).unwrap();
        self
    }

    /// One image of plain layers.
    pub fn of(sandbox: &Sandbox, name: &str, layers: Vec<Vec<u8>>, config: Value) -> Layout {
        let layout = Layout::new(sandbox, name);
        let layers: Vec<_> = layers.into_iter().map(|bytes| (bytes.clone(), bytes)).collect();
        let image = layout.image(&layers, config);
        layout.index(&[image]);
        layout
    }
}

pub fn named(mut descriptor: Value, name: &str) -> Value {
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    descriptor
}

/// The configuration of an image for this machine.
pub fn here(process: Value) -> Value {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    json!({"os": "linux", "architecture": architecture, "config": process})
}

/// All files of a directory in an archive.
pub fn archive(directory: &Path) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all(".", directory).unwrap();
    builder.into_inner().unwrap()
}
