//! No bit of a real bundle can be flipped unseen.

use fleetfoot::Keys;
use fleetfoot_format::bundle::{Budget, Provenance};
use fleetfoot_quantize::{Pack, pack, run_goldens, seeded_inputs};
use fleetfoot_tests::root;
use fleetfoot_trust::{SigningKey, sha256, sign_bundle, verify_bundle};

#[test]
fn every_bit_of_a_bundle_is_signed() {
    let (bundle, keys) = digits();
    verify_bundle(&bundle, &keys).expect("the bundle as it was made");
    let mut accepted = Vec::new();
    let mut copy = bundle.clone();
    for at in 0..bundle.len() {
        for bit in 0..8 {
            copy[at] ^= 1 << bit;
            if verify_bundle(&copy, &keys).is_ok() {
                accepted.push((at, bit));
            }
            copy[at] ^= 1 << bit;
        }
    }
    assert_eq!(accepted, [], "bits of {} bytes", bundle.len());
    for len in 0..bundle.len() {
        assert!(verify_bundle(&bundle[..len], &keys).is_err(), "cut to {len} bytes");
    }
    println!("{} bits flipped, {} lengths cut, none accepted", bundle.len() * 8, bundle.len());
}

/// The smaller digits model, signed by two keys, both of which must have signed.
fn digits() -> (Vec<u8>, Keys) {
    let source = std::fs::read(root().join("examples/digits/digits_v1.tflite")).expect("the example");
    let plan = fleetfoot_plan::plan(&fleetfoot_import::tflite(&source).expect("imported")).expect("planned");
    let golden = run_goldens(&plan, &seeded_inputs(&plan, 2).expect("inputs"), None).expect("goldens");
    let signing = [SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32])];
    let public = [signing[0].public(), signing[1].public()];
    let mut bundle = pack(&Pack {
        model: "digits",
        version: "1.0.0",
        number: 1,
        plan: &plan,
        budget: Budget::default(),
        golden: &golden,
        labels: Some("0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"),
        baseline: None,
        further: &[],
        provenance: Provenance { source_sha256: sha256(&source), source_format: "tflite", tool: "test" },
        quantization: None,
        signers: &public,
    })
    .expect("packed");
    for key in &signing {
        sign_bundle(&mut bundle, key).expect("signed");
    }
    (bundle, Keys::new(&public, 2).expect("keys"))
}
