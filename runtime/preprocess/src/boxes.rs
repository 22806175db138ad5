//! Boxes around things, each once.
//!
//! ```text
//! repeat: of all boxes and classes the highest score that is left -> below the threshold? done
//!                                                                 -> overlaps a better one of its class? left out
//!                                                                 -> the 1024th that was looked at? done
//! ```
//! That is greedy non-maximum suppression, without a list of candidates: what was chosen is all that is remembered.

use fleetfoot_format::{
    limits::MAX_CANDIDATES,
    postprocess::{Boxes, Coding},
};

use crate::{
    door::Output,
    error::PreprocessError,
    exp::{exp, sigmoid},
};

/// A thing that was found. Coordinates are in the unit of the model, most often 1 for the whole image.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Detection {
    /// Its class.
    pub class: usize,
    /// How sure the model is.
    pub score: f32,
    /// Least y.
    pub top: f32,
    /// Least x.
    pub left: f32,
    /// Greatest y.
    pub bottom: f32,
    /// Greatest x.
    pub right: f32,
}

/// Fills the front of `found` with the best boxes, and returns how many there are: at most `settings.top`, and as many as there is room for. Equal scores
/// count in the order of boxes, then of classes. No more than [`MAX_CANDIDATES`] scores are looked at: a detector that is sure of everything takes no longer.
///
/// # Errors
/// [`PreprocessError::NoSuchOutput`] where an output does not hold four numbers per box, one score per box and class, or as many anchors.
pub fn boxes(
    settings: &Boxes<'_>,
    places: &Output<'_>,
    scores: &Output<'_>,
    found: &mut [Detection],
) -> Result<usize, PreprocessError> {
    let classes = classes_of(settings, places.len() as u64, scores.len() as u64)? as usize;
    let room = found.len().min(usize::from(settings.top));
    // Everything before this, in the order of falling scores, was looked at.
    let mut last: Option<(f32, usize)> = None;
    let mut count = 0;
    for _ in 0..MAX_CANDIDATES {
        if count == room {
            break;
        }
        let Some((logit, at)) = next(settings, scores, classes, last) else { break };
        last = Some((logit, at));
        let score = if settings.sigmoid { sigmoid(logit) } else { logit };
        if score.is_nan() || score < settings.threshold {
            break;
        }
        let (index, class) = (at / classes, at % classes);
        let Some(detection) = decode(settings, places, index).map(|place| Detection { class, score, ..place }) else {
            continue;
        };
        let overlaps = |other: &Detection| other.class == class && overlap(other, &detection, settings.overlap);
        if !found[..count].iter().any(overlaps) {
            found[count] = detection;
            count += 1;
        }
    }
    Ok(count)
}

/// How many classes there are where the outputs have `places` and `scores` elements.
pub(crate) fn classes_of(settings: &Boxes<'_>, places: u64, scores: u64) -> Result<u64, PreprocessError> {
    let n = places / 4;
    let no_boxes = n == 0 || !places.is_multiple_of(4);
    if no_boxes || !settings.anchors.is_empty() && settings.anchors.len() as u64 / 16 != n {
        return Err(PreprocessError::NoSuchOutput { index: usize::from(settings.boxes) });
    }
    if scores == 0 || !scores.is_multiple_of(n) {
        return Err(PreprocessError::NoSuchOutput { index: usize::from(settings.scores) });
    }
    Ok(scores / n)
}

/// The highest score that comes behind `last`, and its place.
fn next(settings: &Boxes<'_>, scores: &Output<'_>, classes: usize, last: Option<(f32, usize)>) -> Option<(f32, usize)> {
    let mut best: Option<(f32, usize)> = None;
    for at in 0..scores.len() {
        if settings.background && at.is_multiple_of(classes) {
            continue;
        }
        let Some(score) = scores.real(at).filter(|score| !score.is_nan()) else { continue };
        let is_behind = last.is_none_or(|(s, place)| score < s || score == s && at > place);
        if is_behind && best.is_none_or(|(s, _)| score > s) {
            best = Some((score, at));
        }
    }
    best
}

/// Box `index`; `None` where a number is missing or none.
fn decode(settings: &Boxes<'_>, places: &Output<'_>, index: usize) -> Option<Detection> {
    let mut four = [0.0; 4];
    for (i, place) in four.iter_mut().enumerate() {
        *place = places.real(4 * index + i).filter(|v| v.is_finite())?;
    }
    let around = |y: f32, x: f32, h: f32, w: f32| {
        let (half_h, half_w) = (h * 0.5, w * 0.5);
        [y - half_h, x - half_w, y + half_h, x + half_w]
    };
    let [top, left, bottom, right] = match settings.coding {
        Coding::TopLeftBottomRight => four,
        Coding::LeftTopRightBottom => [four[1], four[0], four[3], four[2]],
        Coding::CentreSize => around(four[1], four[0], four[3], four[2]),
        Coding::Anchors { scales } => {
            let anchors = settings.anchors.as_chunks::<4>().0.get(4 * index..4 * index + 4)?;
            let anchor = |i: usize| f32::from_le_bytes(anchors[i]);
            let [y, x, h, w] = core::array::from_fn(|i| four[i] / scales[i]);
            around(y * anchor(2) + anchor(0), x * anchor(3) + anchor(1), exp(h) * anchor(2), exp(w) * anchor(3))
        }
    };
    Some(Detection { class: 0, score: 0.0, top, left, bottom, right })
}

/// Whether intersection over union is above `most`; without a division, so that empty boxes overlap nothing.
fn overlap(a: &Detection, b: &Detection, most: f32) -> bool {
    let area = |d: &Detection| (d.bottom - d.top).max(0.0) * (d.right - d.left).max(0.0);
    let height = (a.bottom.min(b.bottom) - a.top.max(b.top)).max(0.0);
    let width = (a.right.min(b.right) - a.left.max(b.left)).max(0.0);
    let both = height * width;
    both > most * (area(a) + area(b) - both)
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use fleetfoot_format::graph::IoType;

    use super::*;

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn output(bytes: &[u8]) -> Output<'_> {
        Output { dtype: IoType::Float32, scale: 1.0, zero_point: 0, bytes }
    }

    const SETTINGS: Boxes<'_> = Boxes {
        boxes: 0,
        scores: 1,
        coding: Coding::TopLeftBottomRight,
        sigmoid: false,
        background: false,
        threshold: 0.3,
        overlap: 0.5,
        top: 10,
        anchors: &[],
    };

    fn found(settings: &Boxes<'_>, places: &[f32], scores: &[f32]) -> Vec<Detection> {
        let (places, scores) = (floats(places), floats(scores));
        let mut found = [Detection::default(); 20];
        let count = boxes(settings, &output(&places), &output(&scores), &mut found).unwrap();
        found[..count].to_vec()
    }

    #[test]
    fn one_of_two_that_overlap_and_each_class_by_itself() {
        let places = [0.0, 0.0, 10.0, 10.0, 1.0, 1.0, 11.0, 11.0, 20.0, 20.0, 30.0, 30.0];
        let scores = [0.6, 0.9, 0.7, 0.1, 0.2, 0.8];
        let got: Vec<_> = found(&SETTINGS, &places, &scores).iter().map(|d| (d.class, d.score, d.top)).collect();
        assert_eq!(got, [(1, 0.9, 0.0), (1, 0.8, 20.0), (0, 0.7, 1.0)]);
        let background = Boxes { background: true, ..SETTINGS };
        assert_eq!(found(&background, &places, &scores).len(), 2);
    }

    #[test]
    fn codings() {
        let place = |coding, four: [f32; 4], anchors: &[u8]| {
            let one = found(&Boxes { coding, anchors, ..SETTINGS }, &four, &[1.0])[0];
            [one.top, one.left, one.bottom, one.right]
        };
        assert_eq!(place(Coding::LeftTopRightBottom, [1.0, 2.0, 3.0, 4.0], &[]), [2.0, 1.0, 4.0, 3.0]);
        assert_eq!(place(Coding::CentreSize, [5.0, 6.0, 2.0, 4.0], &[]), [4.0, 4.0, 8.0, 6.0]);
        let anchors = floats(&[0.5, 0.25, 0.2, 0.1]);
        let scales = [10.0, 10.0, 5.0, 5.0];
        let got = place(Coding::Anchors { scales }, [5.0, 0.0, 0.0, 5.0], &anchors);
        let w = 0.1 * core::f32::consts::E;
        for (got, exact) in got.iter().zip([0.5, 0.25 - w / 2.0, 0.7, 0.25 + w / 2.0]) {
            assert!((got - exact).abs() < 1e-6, "{got} {exact}");
        }
    }

    /// Against the usual form: sort all, keep what overlaps nothing kept.
    #[test]
    fn equals_the_usual_suppression() {
        let mut state = 5u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as f32 / 256.0
        };
        for _ in 0..200 {
            let n = 1 + (next() * 12.0) as usize;
            let places: Vec<f32> = (0..n)
                .flat_map(|_| {
                    let (y, x, h, w) = (next(), next(), next(), next());
                    [y, x, y + h, x + w]
                })
                .collect();
            let scores: Vec<f32> = (0..2 * n).map(|_| (next() * 8.0).floor() / 8.0).collect();
            let mut order: Vec<usize> = (0..2 * n).filter(|&i| scores[i] >= 0.3).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
            let mut kept: Vec<Detection> = Vec::new();
            for at in order {
                let p = &places[at / 2 * 4..][..4];
                let one =
                    Detection { class: at % 2, score: scores[at], top: p[0], left: p[1], bottom: p[2], right: p[3] };
                if !kept.iter().any(|k| k.class == one.class && overlap(k, &one, 0.5)) {
                    kept.push(one);
                }
            }
            kept.truncate(10);
            assert_eq!(found(&SETTINGS, &places, &scores), kept);
        }
    }

    #[test]
    fn no_more_candidates_than_the_limit() {
        // All of one place and class but the last one, which has the lowest score.
        let n = MAX_CANDIDATES + 1;
        let of = |n: usize| {
            let last = [20.0, 20.0, 30.0, 30.0];
            let places: Vec<f32> = (1..n).flat_map(|_| [0.0, 0.0, 10.0, 10.0]).chain(last).collect();
            let scores: Vec<f32> = (0..n).map(|i| 0.9 - i as f32 * 1e-4).collect();
            found(&SETTINGS, &places, &scores).len()
        };
        assert_eq!((of(n - 1), of(n)), (2, 1));
    }

    #[test]
    fn outputs_that_do_not_fit() {
        let code = |places: &[f32], scores: &[f32], settings: &Boxes<'_>| {
            let (places, scores) = (floats(places), floats(scores));
            boxes(settings, &output(&places), &output(&scores), &mut []).unwrap_err().code()
        };
        assert_eq!(code(&[0.0; 5], &[0.0], &SETTINGS), 350);
        assert_eq!(code(&[0.0; 8], &[0.0; 3], &SETTINGS), 350);
        assert_eq!(code(&[0.0; 8], &[0.0; 4], &Boxes { anchors: &[0; 16], ..SETTINGS }), 350);
        assert!(found(&SETTINGS, &[f32::NAN, 0.0, 1.0, 1.0], &[1.0]).is_empty());
    }
}
