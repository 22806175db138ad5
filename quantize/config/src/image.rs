//! `preprocess.image`.

use fleetfoot_format::{
    limits::MAX_IMAGE_STEPS,
    preprocess::{Channels, Filter, Image, ImageStep, PixelValues},
};
use fleetfoot_settings::{Fields, Node, Value};

use crate::kinds::{count, divisor, only, per_channel, real, whole};

/// The settings; `None` where a problem was told.
pub(crate) fn image(fields: &mut Fields<'_>) -> Option<Image> {
    let mut inner = fields.inner("image")?;
    let steps = steps(&mut inner);
    let channels = inner.required("channels", channels, "rgb, bgr or grey: what the model was trained with");
    let raw = inner.optional("values", levels).is_some();
    let normalise = inner.has("normalise");
    if raw == normalise {
        let (what, hint) = if raw {
            ("values and normalise exclude each other", "`values: levels` takes 0 to 255 as they are")
        } else {
            (
                "is missing",
                "`normalise: {divide: 255, mean: .., std: ..}`, or `values: levels` for 0 to 255 as they are",
            )
        };
        inner.problem_at("normalise", what.into(), hint);
    }
    let real = real_values(&mut inner);
    let values = if normalise { real } else { Some(PixelValues::Levels) };
    inner.finish();
    Some(Image { steps: steps?, channels: channels?, values: values? })
}

fn channels(node: &Node) -> Result<Channels, &'static str> {
    match &node.value {
        Value::Text(text) if text == "rgb" => Ok(Channels::Rgb),
        Value::Text(text) if text == "bgr" => Ok(Channels::Bgr),
        Value::Text(text) if text == "grey" || text == "gray" => Ok(Channels::Grey),
        _ => Err("rgb, bgr or grey"),
    }
}

fn levels(node: &Node) -> Result<(), &'static str> {
    match &node.value {
        Value::Text(text) if text == "levels" => Ok(()),
        _ => Err("only `levels`; real numbers are made by `normalise`"),
    }
}

fn real_values(fields: &mut Fields<'_>) -> Option<PixelValues> {
    let mut inner = fields.inner("normalise")?;
    let divide = inner.optional("divide", divisor).map_or(1.0, |(divide, _)| divide);
    let mean = inner.optional("mean", |node| per_channel(node, real)).map_or([0.0; 3], |(mean, _)| mean);
    let std = inner.optional("std", |node| per_channel(node, divisor)).map_or([1.0; 3], |(std, _)| std);
    inner.finish();
    Some(PixelValues::Real { divide, mean, std })
}

fn steps(fields: &mut Fields<'_>) -> Option<heapless::Vec<ImageStep, MAX_IMAGE_STEPS>> {
    const HINT: &str = "one of centre_square, centre_crop, crop, resize, resize_shorter, with its settings: `- resize: {width: 224, height: 224, filter: bilinear_half_pixel}`";
    let mut steps = heapless::Vec::new();
    let mut whole_list = true;
    for (node, path) in fields.list("steps") {
        let step = match only(node) {
            Some(("centre_square", None)) => Some(ImageStep::CentreSquare),
            Some(("centre_crop", Some(inner))) => {
                fields.element(inner, &format!("{path}.centre_crop")).and_then(|mut inner| {
                    let (width, height) = size(&mut inner);
                    inner.finish();
                    Some(ImageStep::CentreCrop { width: width?, height: height? })
                })
            }
            Some(("crop", Some(inner))) => fields.element(inner, &format!("{path}.crop")).and_then(|mut inner| {
                let left = inner.required("left", whole, "columns that are left out on the left");
                let top = inner.required("top", whole, "rows that are left out above");
                let (width, height) = size(&mut inner);
                inner.finish();
                Some(ImageStep::Crop { left: left?, top: top?, width: width?, height: height? })
            }),
            Some(("resize", Some(inner))) => fields.element(inner, &format!("{path}.resize")).and_then(|mut inner| {
                let (width, height) = size(&mut inner);
                let filter = filter(&mut inner);
                inner.finish();
                Some(ImageStep::Resize { width: width?, height: height?, filter: filter? })
            }),
            Some(("resize_shorter", Some(inner))) => {
                fields.element(inner, &format!("{path}.resize_shorter")).and_then(|mut inner| {
                    let length = inner.required("length", count, "of the shorter side, in pixels");
                    let filter = filter(&mut inner);
                    inner.finish();
                    Some(ImageStep::ResizeShorter { length: length?, filter: filter? })
                })
            }
            _ => {
                fields.problem(node, &path_of(&path), "a step was expected".into(), HINT);
                None
            }
        };
        whole_list &= step.is_some_and(|step| steps.push(step).is_ok());
        if steps.is_full() && !whole_list {
            fields.problem_at(
                "steps",
                format!("more than {MAX_IMAGE_STEPS} steps"),
                "join crops that follow one another",
            );
            return None;
        }
    }
    whole_list.then_some(steps)
}

/// A path within the fields: they put their own in front.
fn path_of(path: &str) -> String {
    path.rsplit_once('.').map_or(path, |(_, last)| last).into()
}

fn size(fields: &mut Fields<'_>) -> (Option<u32>, Option<u32>) {
    (fields.required("width", count, "in pixels"), fields.required("height", count, "in pixels"))
}

fn filter(fields: &mut Fields<'_>) -> Option<Filter> {
    const NAMES: &str =
        "nearest, bilinear_half_pixel, bilinear_align_corners, bilinear_antialias or area: the one of the training";
    let parse = |node: &Node| match &node.value {
        Value::Text(text) => match text.as_str() {
            "nearest" => Ok(Filter::Nearest),
            "bilinear_half_pixel" => Ok(Filter::BilinearHalfPixel),
            "bilinear_align_corners" => Ok(Filter::BilinearAlignCorners),
            "bilinear_antialias" => Ok(Filter::BilinearAntialias),
            "area" => Ok(Filter::Area),
            _ => Err(NAMES),
        },
        _ => Err(NAMES),
    };
    fields.required("filter", parse, NAMES)
}
