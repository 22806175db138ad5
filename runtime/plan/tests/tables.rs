//! Every table against the reference interpreter: `data/tables.txt`, made by `data/make_tables.py`.
#![allow(clippy::unwrap_used, reason = "a row that does not parse must fail the test")]

use fleetfoot_plan::{
    graph::DType,
    tables::{
        TableError, hard_swish_table, logistic_table, quantize_multiplier, requantize_table, softmax_table, tanh_table,
    },
};

const ROWS: &str = include_str!("data/tables.txt");

/// Returns the function's name after comparing; the whole row is the message.
fn check(row: &str) -> &str {
    let (head, full) = row.split_once(" = ").map_or((row, None), |(head, full)| (head, Some(full)));
    let fields: Vec<&str> = head.split(' ').collect();
    if fields[0] == "multiplier" {
        let factor = f64::from_bits(u64::from_str_radix(fields[1], 16).unwrap());
        assert_eq!(quantize_multiplier(factor), (fields[2].parse().unwrap(), fields[3].parse().unwrap()), "{row}");
        return fields[0];
    }
    let [name, in_type, in_scale, in_zp, out_type, out_scale, out_zp, want] = fields[..] else { panic!("{row}") };
    let (in_scale, out_scale) = (float(in_scale), float(out_scale));
    let (in_type, out_type, in_zp) = (dtype(in_type), dtype(out_type), in_zp.parse().unwrap());
    let out_zp = out_zp.parse().unwrap_or(0);
    let table = match name {
        "softmax" => Some(softmax_table(in_scale, out_scale).iter().flat_map(|v| v.to_le_bytes()).collect()),
        "logistic" => Some(logistic_table(in_type, in_scale, in_zp, out_scale, out_zp).to_vec()),
        "tanh" => Some(tanh_table(in_type, in_scale, in_zp, out_scale, out_zp).to_vec()),
        "requantize" => Some(requantize_table(in_type, in_scale, in_zp, out_type, out_scale, out_zp).to_vec()),
        "hard_swish" => hard_swish_table(in_type, in_scale, in_zp, out_scale, out_zp).ok().map(Vec::from),
        _ => panic!("{row}"),
    };
    let Some(table) = table else {
        assert_eq!(want, "refused", "{row}");
        return "refused";
    };
    if let Some(full) = full {
        let bytes: Vec<u8> = full.as_bytes().chunks(2).map(|b| hex(str::from_utf8(b).unwrap()) as u8).collect();
        assert_eq!(table, bytes, "{row}");
    }
    assert_eq!(format!("{:08x}", crc32fast::hash(&table)), want, "{row}");
    name
}

fn hex(text: &str) -> u32 {
    u32::from_str_radix(text, 16).unwrap()
}

fn float(text: &str) -> f32 {
    f32::from_bits(hex(text))
}

fn dtype(name: &str) -> DType {
    match name {
        "int8" => DType::Int8,
        "uint8" => DType::UInt8,
        _ => panic!("{name}"),
    }
}

#[test]
fn equal_the_reference_interpreter() {
    let names: Vec<&str> = ROWS.lines().map(check).collect();
    let count = |name| names.iter().filter(|n| **n == name).count();
    for (name, rows) in [("softmax", 300), ("logistic", 300), ("tanh", 300), ("requantize", 600), ("multiplier", 66)] {
        assert_eq!(count(name), rows, "{name}");
    }
    assert_eq!(count("hard_swish") + count("refused"), 300);
    assert!(count("hard_swish") > 200 && count("refused") > 10);
}

#[test]
fn hard_swish_refuses_exponents_outside_16_bits() {
    let check = |out_scale, want: Result<(), i32>| {
        let got = hard_swish_table(DType::Int8, 1.0, 0, out_scale, 0);
        assert_eq!(got.map(|_| ()), want.map_err(|exponent| TableError::HardSwishExponent { exponent }), "{out_scale}");
    };
    check(1.0, Ok(()));
    check(1.0 / 128.0, Err(1));
    check(1.001 / 128.0, Ok(()));
    check(256.0, Ok(()));
    check(256.0 * 1.5, Ok(()));
    check(512.0, Ok(()));
    check(513.0, Err(-16));
}

#[test]
fn hostile_parameters_do_not_panic() {
    let scales = [f32::MIN_POSITIVE, f32::from_bits(1), 1e-20, 1.0, f32::MAX, f32::INFINITY, f32::NAN, 0.0, -1.0];
    let zero_points = [i32::MIN, -128, 0, 255, i32::MAX];
    let mut n_hard_swish = 0;
    for si in scales {
        for so in scales {
            for (zi, zo) in zero_points.iter().flat_map(|&a| zero_points.map(|b| (a, b))) {
                let tables = (
                    softmax_table(si, so),
                    logistic_table(DType::Int8, si, zi, so, zo),
                    tanh_table(DType::UInt8, si, zi, so, zo),
                    requantize_table(DType::Int8, si, zi, DType::Int8, so, zo),
                    requantize_table(DType::Int8, si, zi, DType::UInt8, so, zo),
                );
                std::hint::black_box(tables);
                n_hard_swish += usize::from(hard_swish_table(DType::Int8, si, zi, so, zo).is_ok());
            }
        }
    }
    assert!(n_hard_swish > 0);
}
