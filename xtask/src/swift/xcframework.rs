//! `CFleetfoot.xcframework`: the C interface for Apple's platforms, laid out and looked at file by file. It is built without Apple's SDK, so nothing is linked.
//!
//! ```text
//! Info.plist                          the slices
//! ios-arm64/CFleetfoot.framework/     a static framework for each
//!   CFleetfoot                        the static library
//!   Headers/fleetfoot.h
//!   Modules/module.modulemap          in a folder of its own: beside the headers, those of two XCFrameworks overwrite one another
//!   Info.plist                        MinimumOSVersion and others
//!   PrivacyInfo.xcprivacy             why it asks the system what it asks: held against the symbols that the library needs
//! ```

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use object::{Object as _, ObjectSymbol as _, macho, read::archive::ArchiveFile, read::macho::MachHeader as _};

use super::{fresh, read, write};
use crate::{
    dist::abi,
    setup::DEBIAN_RUSTC,
    shell::{Cmd, Result, Tree},
};

/// A platform that gets a framework.
struct Slice {
    folder: &'static str,
    target: &'static str,
    /// `CFBundleSupportedPlatforms`.
    platform: &'static str,
    variant: Option<&'static str>,
    /// `LC_BUILD_VERSION`.
    number: macho::Platform,
}

const SLICES: [Slice; 2] = [
    Slice {
        folder: "ios-arm64",
        target: "aarch64-apple-ios",
        platform: "iPhoneOS",
        variant: None,
        number: macho::PLATFORM_IOS,
    },
    Slice {
        folder: "ios-arm64-simulator",
        target: "aarch64-apple-ios-sim",
        platform: "iPhoneSimulator",
        variant: Some("simulator"),
        number: macho::PLATFORM_IOSSIMULATOR,
    },
];
/// The oldest system: what `Package.swift` says.
const MINIMUM: (u32, u32) = (15, 0);
const VERSION: &str = env!("CARGO_PKG_VERSION");
const NAME: &str = "CFleetfoot";

/// Builds the libraries, lays `CFleetfoot.xcframework` out in `out_dir`, and looks at it.
pub(crate) fn xcframework(tree: &Tree, out_dir: &Path) -> Result {
    let root = out_dir.join(format!("{NAME}.xcframework"));
    fresh(&root)?;
    let templates = tree.root.join("bindings/swift/apple");
    let header = tree.root.join("ffi/include/fleetfoot.h");
    for slice in &SLICES {
        let library = build(tree, slice)?;
        let framework = framework(&root, slice);
        for folder in ["Headers", "Modules"] {
            fs::create_dir_all(framework.join(folder)).map_err(|e| format!("{}: {e}", framework.display()))?;
        }
        let info = read(&templates.join("framework.plist"))?
            .replace("@VERSION@", VERSION)
            .replace("@PLATFORM@", slice.platform)
            .replace("@MINIMUM@", &minimum());
        write(&framework.join("Info.plist"), &info)?;
        copy(&library, &framework.join(NAME))?;
        copy(&header, &framework.join("Headers/fleetfoot.h"))?;
        for name in ["PrivacyInfo.xcprivacy", "module.modulemap"] {
            let folder = if name.ends_with("map") { framework.join("Modules") } else { framework.clone() };
            copy(&templates.join(name), &folder.join(name))?;
        }
    }
    let libraries: String = SLICES.iter().map(available).collect();
    write(&root.join("Info.plist"), &read(&templates.join("xcframework.plist"))?.replace("@LIBRARIES@", &libraries))?;
    look(tree, &root)
}

fn framework(root: &Path, slice: &Slice) -> PathBuf {
    root.join(slice.folder).join(format!("{NAME}.framework"))
}

fn minimum() -> String {
    format!("{}.{}", MINIMUM.0, MINIMUM.1)
}

/// A row of `AvailableLibraries`.
fn available(slice: &Slice) -> String {
    let mut row = format!(
        "\t\t<dict>
\t\t\t<key>BinaryPath</key>
\t\t\t<string>{NAME}.framework/{NAME}</string>
\t\t\t<key>LibraryIdentifier</key>
\t\t\t<string>{}</string>
\t\t\t<key>LibraryPath</key>
\t\t\t<string>{NAME}.framework</string>
\t\t\t<key>SupportedArchitectures</key>
\t\t\t<array>
\t\t\t\t<string>arm64</string>
\t\t\t</array>
\t\t\t<key>SupportedPlatform</key>
\t\t\t<string>ios</string>
",
        slice.folder
    );
    if let Some(variant) = slice.variant {
        row += &format!("\t\t\t<key>SupportedPlatformVariant</key>\n\t\t\t<string>{variant}</string>\n");
    }
    row + "\t\t</dict>\n"
}

/// The static library; the standard library is built along, since nobody delivers it here.
fn build(tree: &Tree, slice: &Slice) -> Result<PathBuf> {
    let folder = tree.target.join("apple");
    Cmd::cargo(tree, ["rustc", "--release", "--quiet", "-p", "fleetfoot-ffi", "--crate-type", "staticlib"])
        .args([
            "--no-default-features",
            "--features",
            "update",
            "-Zbuild-std=std,panic_unwind",
            "--target",
            slice.target,
        ])
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTC", DEBIAN_RUSTC)
        // Building the standard library ourselves is not stable yet; nothing else here needs it.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("IPHONEOS_DEPLOYMENT_TARGET", minimum())
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s")
        .env("CARGO_PROFILE_RELEASE_PACKAGE_FLEETFOOT_KERNELS_OPT_LEVEL", "3")
        .env_remove("LD_LIBRARY_PATH")
        .run()?;
    Ok(folder.join(slice.target).join("release/libfleetfoot_c.a"))
}

/// What a framework consists of.
const FILES: [&str; 5] =
    [NAME, "Headers/fleetfoot.h", "Info.plist", "Modules/module.modulemap", "PrivacyInfo.xcprivacy"];

/// Looks at every file.
fn look(tree: &Tree, root: &Path) -> Result {
    let mut expected: BTreeSet<PathBuf> = BTreeSet::from(["Info.plist".into()]);
    let mut files = BTreeSet::new();
    list(root, root, &mut files)?;
    let functions = abi::names(tree)?;
    let mut plists = vec![root.join("Info.plist")];
    for slice in &SLICES {
        let framework = framework(root, slice);
        expected.extend(FILES.iter().map(|file| Path::new(slice.folder).join(format!("{NAME}.framework")).join(file)));
        plists.extend(["Info.plist", "PrivacyInfo.xcprivacy"].map(|name| framework.join(name)));
        let needed = library(&framework.join(NAME), slice, &functions)?;
        let told = reasons(&read(&framework.join("PrivacyInfo.xcprivacy"))?);
        if needed != told {
            return Err(format!("{}: reasons are needed for {needed:?}, PrivacyInfo tells {told:?}", slice.folder));
        }
        let info = read(&framework.join("Info.plist"))?;
        let minimum = format!("<key>MinimumOSVersion</key>\n\t<string>{}</string>", minimum());
        if !info.contains(&minimum) || !info.contains(slice.platform) {
            return Err(format!("{}: Info.plist is not of this platform", slice.folder));
        }
        let same = fs::read(framework.join("Headers/fleetfoot.h")).ok();
        if same.is_none() || same != fs::read(tree.root.join("ffi/include/fleetfoot.h")).ok() {
            return Err(format!("{}: another header", slice.folder));
        }
    }
    if files != expected {
        return Err(format!("{} has {files:?}, expected are {expected:?}", root.display()));
    }
    let manifest = read(&tree.root.join("bindings/swift/Package.swift"))?;
    if !manifest.contains(&format!(".iOS(.v{})", MINIMUM.0)) {
        return Err(format!("Package.swift is for another system than {}", minimum()));
    }
    plists.iter().try_for_each(|plist| well_formed(plist))
}

fn list(root: &Path, folder: &Path, files: &mut BTreeSet<PathBuf>) -> Result {
    for entry in fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
        if path.is_dir() {
            list(root, &path, files)?;
        } else {
            files.insert(path.strip_prefix(root).unwrap_or(&path).to_path_buf());
        }
    }
    Ok(())
}

/// Functions whose use has to be explained, by their categories: Apple, "Describing use of required reason API".
const EXPLAINED: [(&str, &[&str]); 3] = [
    (
        "NSPrivacyAccessedAPICategoryFileTimestamp",
        &["stat", "fstat", "fstatat", "lstat", "getattrlist", "getattrlistbulk", "fgetattrlist", "getattrlistat"],
    ),
    ("NSPrivacyAccessedAPICategoryDiskSpace", &["statfs", "statvfs", "fstatfs", "fstatvfs"]),
    ("NSPrivacyAccessedAPICategorySystemBootTime", &["mach_absolute_time"]),
];

/// Every member is for this platform and its oldest system; all functions of the header are there. Returns the categories that have to be explained.
fn library(path: &Path, slice: &Slice, functions: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let fault = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let bytes = fs::read(path).map_err(|e| fault(&e))?;
    let archive = ArchiveFile::parse(&*bytes).map_err(|e| fault(&e))?;
    let (mut ours, mut needed, mut members) = (BTreeSet::new(), BTreeSet::new(), 0);
    for member in archive.members() {
        let member = member.map_err(|e| fault(&e))?;
        let name = String::from_utf8_lossy(member.name()).into_owned();
        let data = member.data(&*bytes).map_err(|e| fault(&e))?;
        let header =
            macho::MachHeader64::<object::Endianness>::parse(data, 0).map_err(|e| fault(&format!("{name}: {e}")))?;
        let endian = header.endian().map_err(|e| fault(&e))?;
        let mut commands = header.load_commands(endian, data, 0).map_err(|e| fault(&e))?;
        let mut version = None;
        while let Some(command) = commands.next().map_err(|e| fault(&e))? {
            version = version.or(command.build_version(endian).map_err(|e| fault(&e))?);
        }
        let of = version.map(|(v, _)| {
            let minos = v.minos.get(endian).0;
            (v.platform.get(endian), minos >> 16, minos >> 8 & 0xff)
        });
        if header.cputype(endian) != macho::CPU_TYPE_ARM64 || of != Some((slice.number, MINIMUM.0, MINIMUM.1)) {
            return Err(fault(&format!("{name} is for platform, major and minor version {of:?}")));
        }
        let file = object::File::parse(data).map_err(|e| fault(&e))?;
        for symbol in file.symbols() {
            let name = symbol.name().unwrap_or_default().trim_start_matches('_');
            if symbol.is_undefined() {
                needed.extend(EXPLAINED.iter().filter(|(_, all)| all.contains(&name)).map(|(c, _)| (*c).to_owned()));
            } else if name.starts_with("ff_") && symbol.is_global() {
                ours.insert(name.to_owned());
            }
        }
        members += 1;
    }
    println!("{}: {} bytes, {members} members, {} functions", path.display(), bytes.len(), ours.len());
    abi::compare(&ours, functions).map_or(Ok(needed), |differ| Err(fault(&differ)))
}

fn reasons(privacy: &str) -> BTreeSet<String> {
    let categories = privacy.split("<string>").filter_map(|rest| rest.split_once("</string>"));
    categories
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.starts_with("NSPrivacyAccessedAPICategory"))
        .collect()
}

/// Tags of a property list, and whether each that opens closes.
fn well_formed(path: &Path) -> Result {
    let text = read(path)?;
    let mut open = Vec::new();
    for tag in text.split('<').skip(1).filter_map(|rest| Some(rest.split_once('>')?.0)) {
        if tag.starts_with(['?', '!']) || tag.ends_with('/') {
            continue;
        }
        match tag.strip_prefix('/') {
            Some(closed) if open.pop() == Some(closed) => {}
            Some(closed) => return Err(format!("{}: </{closed}> closes something else", path.display())),
            None => open.push(tag.split(' ').next().unwrap_or_default()),
        }
    }
    if open.is_empty() && !text.contains('@') {
        Ok(())
    } else {
        Err(format!("{}: {open:?} stays open", path.display()))
    }
}

fn copy(from: &Path, to: &Path) -> Result {
    fs::copy(from, to).map(drop).map_err(|e| format!("{}: {e}", from.display()))
}
