//! `simulate`: a policy on a fleet under virtual time.

use std::path::{Path, PathBuf};

use fleetfoot_rollout::simulate::{self, End, Fault, Run, Scenario};
use plotters::prelude::*;

use crate::{
    commands::rollout::policy::read_policy,
    failure::Failure,
    output::{Output, table},
};

/// What a policy would do to a fleet: the real gates and the real device, under virtual time, with planted faults.
///
/// Example: fleetfoot simulate -f rollout.yaml --devices 20000 --fault error_rate=0.03@1
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The policy.
    #[arg(short, long)]
    file: PathBuf,
    /// Devices of the fleet.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=2_000_000))]
    devices: u32,
    /// A planted fault, KIND=VALUE@DAY: error_rate, latency_factor, crash_loop, metric_drop, metric_gain, constant_output, mute, drift, or the name
    /// of a metric and a factor.
    #[arg(long, value_parser = Fault::parse)]
    fault: Vec<Fault>,
    /// Seed: the same one is the same run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Inferences of a device on a day.
    #[arg(long, default_value_t = 200.0)]
    inferences: f64,
    /// Draw the exposed devices over the days, as SVG.
    #[arg(long)]
    chart: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let (policy, _) = read_policy(&args.file)?;
    if args.inferences.is_nan() || args.inferences <= 0.0 || args.inferences > 1e6 {
        return Err(Failure::usage("--inferences has to be above 0 and at most 1000000"));
    }
    let scenario = Scenario {
        devices: args.devices,
        seed: args.seed,
        faults: args.fault.clone(),
        inferences_per_day: args.inferences,
    };
    let mut course = vec![(0.0, 0u64)];
    let run = simulate::run(&policy, &scenario, |days, exposed| course.push((days, exposed)));
    if let Some(path) = &args.chart {
        draw(path, &run, &course)
            .map_err(|error| Failure::usage(format!("the chart cannot be drawn: {error}")).in_file(path))?;
    }
    output.result(|| people(&run), || serde_json::to_value(&run).unwrap_or_default())
}

fn people(run: &Run) -> String {
    let rows = run.stages.iter().map(|stage| {
        vec![
            stage.stage.into(),
            format!("{:.2}", stage.from_days),
            stage.exposed_devices.to_string(),
            stage.fallbacks.to_string(),
            stage.decision.reason().into(),
        ]
    });
    let end = match run.outcome {
        End::Full => "everybody has the candidate",
        End::Kept => "the current version stays",
        End::RolledBack => "rolled back",
        End::Held => "held: a person has to look",
    };
    format!(
        "{}\n{}: {end} after {:.2} days, {} of {} devices had the candidate\n{}",
        table(&["stage", "from day", "exposed", "given up", "what decided"], rows),
        run.rollout,
        run.decided_at_days,
        run.exposed_devices,
        run.devices,
        run.reason
    )
}

fn draw(path: &Path, run: &Run, course: &[(f64, u64)]) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(path, (720, 320)).into_drawing_area();
    area.fill(&WHITE)?;
    let days = course.last().map_or(1.0, |last| last.0).max(0.1);
    let most = course.iter().map(|at| at.1).max().unwrap_or(1).max(1) as f64;
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("{}: devices with the candidate", run.rollout), ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..days, 0.0..most * 1.05)?;
    chart.configure_mesh().x_desc("days").y_desc("devices").draw()?;
    // Steps: between two looks nothing is known.
    let steps = course.windows(2).flat_map(|pair| [(pair[0].0, pair[1].1 as f64), (pair[1].0, pair[1].1 as f64)]);
    chart.draw_series(LineSeries::new(steps, &BLUE))?;
    for stage in &run.stages {
        let line = [(stage.from_days, 0.0), (stage.from_days, most * 1.05)];
        chart.draw_series(LineSeries::new(line, BLACK.mix(0.25)))?;
        chart.draw_series([Text::new(stage.stage, (stage.from_days + days * 0.005, most), ("sans-serif", 12))])?;
    }
    area.present()?;
    Ok(())
}
