//! What the libraries are made of, as CycloneDX 1.6: the crates that are linked into the native libraries, as Cargo resolves them for those features and machines,
//! and what the jar and the AAR ask Maven for. Crates that only build or test are not in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::{Value, json};

use super::VERSION;
use crate::{
    setup,
    shell::{Cmd, Result, Tree},
};

pub(super) const NAME: &str = "sbom.cdx.json";
/// Machines that libraries are built for.
const TARGETS: [&str; 3] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-linux-android"];

/// A library that Maven fetches.
pub(super) struct Dependency {
    pub(super) group: String,
    pub(super) name: String,
    pub(super) version: String,
}

/// Name and version of a crate.
type Crate = (String, String);

/// Writes the list.
pub(super) fn write(tree: &Tree, to: &Path) -> Result {
    let text = Cmd::cargo(tree, ["metadata", "--format-version=1", "--locked"]).read()?;
    let metadata: Value = serde_json::from_str(&text).map_err(|e| format!("cargo metadata: {e}"))?;
    let lock = fs::read_to_string(tree.root.join("Cargo.lock")).map_err(|e| format!("Cargo.lock: {e}"))?;
    let bom = bom(&metadata, &linked(tree)?, &checksums(&lock), &maven(tree)?);
    let count = list(&bom["components"]).count();
    println!("{}: {count} components", to.display());
    if count < 20 {
        return Err("the list of what the libraries are made of is not whole".into());
    }
    super::write(to, &(serde_json::to_string_pretty(&bom).map_err(|e| e.to_string())? + "\n"))
}

/// The file against the schema of CycloneDX, by its Python library.
pub(super) fn validate(tree: &Tree, file: &Path) -> Result {
    let program = "import sys\n\
                   from cyclonedx.schema import SchemaVersion\n\
                   from cyclonedx.validation.json import JsonStrictValidator\n\
                   fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())\n\
                   print(fault or 'it is CycloneDX 1.6')\n\
                   sys.exit(1 if fault else 0)\n";
    Cmd::new(setup::python(tree)).arg("-c").arg(program).arg(file).run()
}

/// The crates that end up in a library.
fn linked(tree: &Tree) -> Result<BTreeSet<Crate>> {
    let mut crates = BTreeSet::new();
    for target in TARGETS {
        let text = Cmd::cargo(tree, ["tree", "--locked", "-p", "fleetfoot-ffi", "-p", "fleetfoot-jni"])
            .args(["--no-default-features", "--features", "fleetfoot-ffi/net", "--edges", "normal,no-proc-macro"])
            .args(["--prefix", "none", "--format", "{p}", "--target", target])
            .read()?;
        crates.extend(text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
        }));
    }
    Ok(crates)
}

/// Checksums of crates from the registry.
fn checksums(lock: &str) -> BTreeMap<Crate, String> {
    let field = |part: &str, name: &str| {
        let line = part.lines().find(|line| line.starts_with(&format!("{name} = ")))?;
        Some(line.split('"').nth(1)?.to_owned())
    };
    let packages = lock.split("[[package]]").skip(1);
    packages
        .filter_map(|part| Some(((field(part, "name")?, field(part, "version")?), field(part, "checksum")?)))
        .collect()
}

/// What the Kotlin binding asks for when it is compiled.
pub(super) fn maven(tree: &Tree) -> Result<Vec<Dependency>> {
    let path = tree.root.join("bindings/kotlin/pom.xml");
    let pom = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    // Profiles come after it.
    let own = pom.split("<profiles>").next().unwrap_or_default();
    let tag = |part: &str, name: &str| {
        let (_, rest) = part.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    };
    let mut found = Vec::new();
    for part in own.split("<dependency>").skip(1).filter_map(|part| part.split("</dependency>").next()) {
        if tag(part, "scope").is_some() {
            continue;
        }
        let named = |name: &str| tag(part, name).ok_or_else(|| format!("a dependency of pom.xml has no {name}"));
        let mut version = named("version")?;
        if let Some(property) = version.strip_prefix("${").and_then(|v| v.strip_suffix('}')) {
            version = tag(own, property).ok_or_else(|| format!("pom.xml does not say what {version} is"))?;
        }
        found.push(Dependency { group: named("groupId")?, name: named("artifactId")?, version });
    }
    if found.is_empty() { Err("pom.xml has no dependencies".into()) } else { Ok(found) }
}

fn bom(metadata: &Value, linked: &BTreeSet<Crate>, checksums: &BTreeMap<Crate, String>, maven: &[Dependency]) -> Value {
    let (mut components, mut dependencies) = (Vec::new(), Vec::new());
    let mut by_id = BTreeMap::new();
    for package in list(&metadata["packages"]) {
        let text = |field: &str| package[field].as_str().unwrap_or_default().to_owned();
        let (id, name) = (text("id"), (text("name"), text("version")));
        if linked.contains(&name) {
            let purl = format!("pkg:cargo/{}@{}", name.0, name.1);
            components.push(component(&purl, package, checksums.get(&name)));
            by_id.insert(id, purl);
        }
    }
    for node in list(&metadata["resolve"]["nodes"]) {
        let Some(purl) = node["id"].as_str().and_then(|id| by_id.get(id)) else { continue };
        let normal = list(&node["deps"]).filter(|dep| list(&dep["dep_kinds"]).any(|kind| kind["kind"].is_null()));
        let on: BTreeSet<&String> = normal.filter_map(|dep| by_id.get(dep["pkg"].as_str()?)).collect();
        dependencies.push(json!({ "ref": purl, "dependsOn": on }));
    }
    for Dependency { group, name, version } in maven {
        let purl = format!("pkg:maven/{group}/{name}@{version}");
        components.push(json!({ "type": "library", "bom-ref": purl, "group": group, "name": name, "version": version, "purl": purl }));
    }
    let root = format!("pkg:generic/fleetfoot@{VERSION}");
    let all: Vec<&Value> = components.iter().map(|component| &component["bom-ref"]).collect();
    dependencies.push(json!({ "ref": root, "dependsOn": all }));
    let product = json!({ "type": "library", "bom-ref": root, "name": "fleetfoot", "version": VERSION, "purl": root });
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": product },
        "components": components,
        "dependencies": dependencies,
    })
}

fn component(purl: &str, package: &Value, checksum: Option<&String>) -> Value {
    let mut component = json!({ "type": "library", "bom-ref": purl, "name": package["name"], "version": package["version"], "purl": purl });
    if let Some(license) = package["license"].as_str() {
        // Old crates write "MIT/Apache-2.0".
        component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
    }
    if let Some(checksum) = checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::{bom, checksums};

    #[test]
    fn a_list() {
        let lock = "[[package]]\nname = \"b\"\nversion = \"2.0.0\"\nchecksum = \"ff\"\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n";
        let checksums = checksums(lock);
        assert_eq!(checksums.len(), 1);
        let package = |name: &str, version: &str| json!({"id": name, "name": name, "version": version, "license": "MIT/Apache-2.0"});
        let metadata = json!({
            "packages": [package("a", "1.0.0"), package("b", "2.0.0"), package("c", "3.0.0")],
            "resolve": {"nodes": [{"id": "a", "deps": [
                {"pkg": "b", "dep_kinds": [{"kind": null}]},
                {"pkg": "c", "dep_kinds": [{"kind": "dev"}]},
            ]}]},
        });
        let linked: BTreeSet<_> = [("a", "1.0.0"), ("b", "2.0.0")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        let bom = bom(&metadata, &linked, &checksums, &[]);
        assert_eq!(bom["components"].as_array().map(Vec::len), Some(2));
        assert_eq!(bom["components"][1]["hashes"][0]["content"], "ff");
        assert_eq!(bom["components"][0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(bom["dependencies"][0], json!({"ref": "pkg:cargo/a@1.0.0", "dependsOn": ["pkg:cargo/b@2.0.0"]}));
    }
}
