//! The library for Android, as Gradle takes it:
//!
//! ```text
//! aar/AndroidManifest.xml  classes.jar  proguard.txt  R.txt  META-INF/com/android/build/gradle/aar-metadata.properties
//! aar/jni/<abi>/libfleetfoot.so                    for Kotlin and for C
//! aar/prefab/                                      the same for CMake, with the header
//! fleetfoot-<version>.aar, .pom                    its zip, and what it depends on
//! static/<abi>/libfleetfoot_jni.a  link.sh  symbols.map      what the .so files are linked from, with the NDK
//! ```
//! The linker, the C library and the unwinder of Android are in the NDK, which comes from no package registry. With the variable NDK set the libraries are linked and the zip
//! is whole; without it their places hold a note, and the zip is named `-unlinked`. `link.sh` itself is proved here with the static library of this machine.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::{VERSION, abi, archive, elf, files, jar, make, write};
use crate::{
    capi,
    setup::DEBIAN_RUSTC,
    shell::{Cmd, Result, Tree},
};

/// What libraries with the shim of the Kotlin binding export.
pub(super) const EXPORTED: &[&str] = &["ff_", "Java_dev_fleetfoot_"];
/// Names of Android for the machines that are built, and those of Rust.
const ABIS: [(&str, &str); 1] = [("arm64-v8a", "aarch64-linux-android")];
const MIN_SDK: u32 = 24;
const LIBRARY: &str = "libfleetfoot.so";
/// In the place of a library that could not be linked.
const NOTE: &str = "NOT-LINKED.txt";

pub(super) fn lay_out(tree: &Tree, out: &Path, host_library: &Path, functions: &BTreeSet<String>) -> Result {
    let source = tree.root.join("bindings/kotlin/android");
    let aar = out.join("aar");
    make(&aar.join("META-INF/com/android/build/gradle"))?;
    for name in ["AndroidManifest.xml", "proguard.txt"] {
        capi::copy(&source.join(name), &aar.join(name))?;
    }
    // Resources: none.
    write(&aar.join("R.txt"), "")?;
    let metadata = format!(
        "aarFormatVersion=1.0\naarMetadataVersion=1.0\nminCompileSdk={MIN_SDK}\nminAndroidGradlePluginVersion=1.0.0\n"
    );
    write(&aar.join("META-INF/com/android/build/gradle/aar-metadata.properties"), &metadata)?;
    jar(tree, &["-Pandroid"], &aar.join("classes.jar"))?;
    prefab(tree, &aar)?;
    for name in ["link.sh", "symbols.map"] {
        capi::copy(&source.join(name), &out.join(name))?;
    }
    proved(tree, out, host_library, functions)?;
    let mut linked = true;
    for (abi, target) in ABIS {
        linked &= library(tree, out, abi, target, functions)?;
    }
    let suffix = if linked { "" } else { "-unlinked" };
    let zip = out.join(format!("fleetfoot-{VERSION}{suffix}.aar"));
    archive(&zip, &["--no-manifest"], &aar)?;
    pom(tree, &out.join(format!("fleetfoot-{VERSION}.pom")))?;
    complete(&aar, linked)
}

/// What CMake needs of it.
fn prefab(tree: &Tree, aar: &Path) -> Result {
    let module = aar.join("prefab/modules/fleetfoot");
    make(&module.join("include"))?;
    write(
        &aar.join("prefab/prefab.json"),
        &format!(
            "{{\n  \"schema_version\": 2,\n  \"name\": \"fleetfoot\",\n  \"version\": \"{VERSION}\",\n  \"dependencies\": []\n}}\n"
        ),
    )?;
    write(
        &module.join("module.json"),
        "{\n  \"export_libraries\": [],\n  \"library_name\": \"libfleetfoot\",\n  \"android\": {}\n}\n",
    )?;
    capi::copy(&tree.root.join("ffi/include/fleetfoot.h"), &module.join("include/fleetfoot.h"))?;
    for (abi, _) in ABIS {
        let place = module.join(format!("libs/android.{abi}"));
        make(&place)?;
        let text = format!(
            "{{\n  \"abi\": \"{abi}\",\n  \"api\": {MIN_SDK},\n  \"ndk\": 27,\n  \"stl\": \"none\",\n  \"static\": false\n}}\n"
        );
        write(&place.join("abi.json"), &text)?;
    }
    Ok(())
}

/// `link.sh` on what this machine can link: the same flags, the same version script.
fn proved(tree: &Tree, out: &Path, host_library: &Path, functions: &BTreeSet<String>) -> Result {
    let place = tree.target.join("dist-link");
    let abi = if std::env::consts::ARCH == "aarch64" { "arm64-v8a" } else { "x86_64" };
    Cmd::new(out.join("link.sh"))
        .arg(abi)
        .arg(host_library)
        .arg(&place)
        .env("FLEETFOOT_CC", "gcc")
        .env("FLEETFOOT_LIBS", "-lgcc_s -lpthread -ldl -lm -lc")
        .run()?;
    let gates = elf::Gates { prefixes: EXPORTED, functions, page: elf::PAGE };
    elf::exports(&place.join(LIBRARY), &gates).map(drop)
}

/// The static library of one ABI, and with an NDK the shared one. Whether there was one.
fn library(tree: &Tree, out: &Path, abi: &str, target: &str, functions: &BTreeSet<String>) -> Result<bool> {
    let built = built(tree, target)?;
    let place = out.join("static").join(abi);
    make(&place)?;
    let library = place.join("libfleetfoot_jni.a");
    capi::copy(&built, &library)?;
    Cmd::new("aarch64-linux-gnu-strip").arg("--strip-debug").arg(&library).run()?;
    symbols(tree, &library, functions)?;
    let aar = out.join("aar");
    let (jni, prefab) = (aar.join("jni").join(abi), aar.join(format!("prefab/modules/fleetfoot/libs/android.{abi}")));
    make(&jni)?;
    if std::env::var_os("NDK").is_none() {
        let note = format!(
            "{LIBRARY} belongs here. With the NDK:\n\n    NDK=/path/to/android-ndk link.sh {abi} static/{abi}/libfleetfoot_jni.a aar/jni/{abi}\n"
        );
        write(&jni.join(NOTE), &note)?;
        write(&prefab.join(NOTE), &note)?;
        return Ok(false);
    }
    Cmd::new(out.join("link.sh")).arg(abi).arg(&library).arg(&jni).run()?;
    elf::exports(&jni.join(LIBRARY), &elf::Gates { prefixes: EXPORTED, functions, page: elf::PAGE })?;
    capi::copy(&jni.join(LIBRARY), &prefab.join(LIBRARY))?;
    Ok(true)
}

/// Builds the static library, and the standard library with it: there is none for Android in the packages of Debian.
fn built(tree: &Tree, target: &str) -> Result<PathBuf> {
    let folder = tree.target.join("android");
    Cmd::cargo(tree, ["rustc", "--release", "--quiet", "-p", "fleetfoot-jni", "--crate-type", "staticlib", "--target"])
        .arg(target)
        .arg("-Zbuild-std=std,panic_unwind")
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTC", DEBIAN_RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s")
        .env("CARGO_PROFILE_RELEASE_PACKAGE_FLEETFOOT_KERNELS_OPT_LEVEL", "3")
        // Cargo points it to the libraries of the compiler that built this program; that is another one.
        .env_remove("LD_LIBRARY_PATH")
        .run()?;
    Ok(folder.join(target).join("release/libfleetfoot_jni.a"))
}

/// The static library has all functions of the header, and those of the shim that the binding calls.
fn symbols(tree: &Tree, library: &Path, functions: &BTreeSet<String>) -> Result {
    const METHOD: &str = "Java_dev_fleetfoot_Native_";
    let text = Cmd::new("aarch64-linux-gnu-nm").args(["--defined-only", "--extern-only"]).arg(library).read()?;
    let defined = |prefix: &str| -> BTreeSet<String> {
        let names = text.lines().filter_map(|line| line.rsplit_once(" T ").map(|(_, name)| name));
        names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
    };
    let native = tree.root.join("bindings/kotlin/src/main/kotlin/dev/fleetfoot/Native.kt");
    let native = fs::read_to_string(&native).map_err(|e| format!("{}: {e}", native.display()))?;
    let declared = native.split("external fun ").skip(1).filter_map(|rest| rest.split_once('('));
    let methods: BTreeSet<String> = declared.map(|(name, _)| format!("{METHOD}{name}")).collect();
    println!("{}: {} functions, {} methods", library.display(), functions.len(), methods.len());
    let faults = [abi::compare(&defined("ff_"), functions), abi::compare(&defined(METHOD), &methods)];
    match faults.into_iter().flatten().next() {
        Some(fault) => Err(format!("{}: {fault}", library.display())),
        None => Ok(()),
    }
}

/// The AAR's dependencies are those of the binding.
fn pom(tree: &Tree, to: &Path) -> Result {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  <modelVersion>4.0.0</modelVersion>\n  \
         <groupId>dev.fleetfoot</groupId>\n  <artifactId>fleetfoot</artifactId>\n  <version>{VERSION}</version>\n  <packaging>aar</packaging>\n  <dependencies>\n"
    );
    for dependency in super::sbom::maven(tree)? {
        text.push_str(&format!(
            "    <dependency>\n      <groupId>{}</groupId>\n      <artifactId>{}</artifactId>\n      <version>{}</version>\n      <scope>compile</scope>\n    </dependency>\n",
            dependency.group, dependency.name, dependency.version
        ));
    }
    text.push_str("  </dependencies>\n</project>\n");
    write(to, &text)
}

/// File by file: everything is there, and nothing else.
fn complete(aar: &Path, linked: bool) -> Result {
    let mut expected: Vec<String> = [
        "AndroidManifest.xml",
        "META-INF/com/android/build/gradle/aar-metadata.properties",
        "R.txt",
        "classes.jar",
        "prefab/modules/fleetfoot/include/fleetfoot.h",
        "prefab/modules/fleetfoot/module.json",
        "prefab/prefab.json",
        "proguard.txt",
    ]
    .map(str::to_owned)
    .to_vec();
    let library = if linked { LIBRARY } else { NOTE };
    for (abi, _) in ABIS {
        expected.push(format!("jni/{abi}/{library}"));
        expected.push(format!("prefab/modules/fleetfoot/libs/android.{abi}/{library}"));
        expected.push(format!("prefab/modules/fleetfoot/libs/android.{abi}/abi.json"));
    }
    expected.sort();
    let found: Vec<String> = files(aar)?.iter().map(|path| path.display().to_string()).collect();
    if found != expected {
        return Err(format!("the AAR has {found:?}, not {expected:?}"));
    }
    let manifest = fs::read_to_string(aar.join("AndroidManifest.xml")).map_err(|e| e.to_string())?;
    if !manifest.contains(&format!("android:minSdkVersion=\"{MIN_SDK}\"")) {
        return Err(format!("the manifest does not say that Android {MIN_SDK} is the oldest"));
    }
    for file in found.iter().filter(|file| file.ends_with(".json")) {
        let text = fs::read_to_string(aar.join(file)).map_err(|e| format!("{file}: {e}"))?;
        serde_json::from_str::<serde_json::Value>(&text).map_err(|e| format!("{file}: {e}"))?;
    }
    let classes = Cmd::new("jar").arg("tf").arg(aar.join("classes.jar")).read()?;
    for class in
        ["dev/fleetfoot/Fleetfoot.class", "dev/fleetfoot/Native.class", "dev/fleetfoot/android/UpdateJobService.class"]
    {
        if !classes.lines().any(|line| line == class) {
            return Err(format!("classes.jar has no {class}"));
        }
    }
    let strange = classes.lines().find(|line| !line.starts_with("dev/fleetfoot/") && !line.starts_with("META-INF/"));
    strange.map_or(Ok(()), |line| Err(format!("classes.jar has {line}")))
}
