//! How a peer in a process of its own is asked for times, by `cargo xtask bench peers`; `peer.py` speaks the same.
//!
//! ```text
//! PROGRAM NAME --model FILE --input FILE --output FILE --shape 1,3,224,224 --threads N
//! < ready VERSION          all samples of the input file have run, all outputs are in the output file, as float32
//! > 20                     a number of runs
//! < 51034 50911 ...        their times in nanoseconds
//! ```
//! or, instead of `ready`, `absent WHY`. The process ends with its standard input.

use std::{
    fmt::Display,
    io::{BufRead as _, Write as _},
    time::Instant,
};

/// What stands on the command line.
pub(crate) struct Args {
    /// The peer.
    #[allow(dead_code, reason = "a program that is only one peer does not ask")]
    pub(crate) name: String,
    /// File of the model.
    pub(crate) model: String,
    /// Samples, one after another, in the layout that the model takes.
    pub(crate) input: Vec<u8>,
    /// Where outputs go.
    pub(crate) output: String,
    /// Shape of the input.
    pub(crate) shape: Vec<usize>,
    /// Threads.
    pub(crate) threads: usize,
}

/// Anything that can go wrong, as a text.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// Puts text to what went wrong.
pub(crate) fn text(fault: impl Display) -> String {
    fault.to_string()
}

impl Args {
    /// Reads the command line and the file of the input.
    ///
    /// # Errors
    /// What is missing or cannot be read.
    pub(crate) fn read() -> Result<Self> {
        let mut args = std::env::args().skip(1);
        let name = args.next().ok_or("the name of the peer is missing")?;
        let mut this = Self {
            name,
            model: String::new(),
            input: Vec::new(),
            output: String::new(),
            shape: Vec::new(),
            threads: 1,
        };
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--model" => this.model = value,
                "--input" => this.input = std::fs::read(&value).map_err(|e| format!("{value}: {e}"))?,
                "--output" => this.output = value,
                "--shape" => {
                    let extents: std::result::Result<_, _> = value.split(',').map(str::parse).collect();
                    this.shape = extents.map_err(text)?;
                }
                "--threads" => this.threads = value.parse().map_err(text)?,
                _ => return Err(format!("unknown: {flag}")),
            }
        }
        Ok(this)
    }
}

/// A loaded peer.
pub(crate) trait Peer {
    /// Puts one sample in place.
    ///
    /// # Errors
    /// What the peer says.
    fn put(&mut self, sample: &[u8]) -> Result<()>;
    /// One inference: what is timed.
    ///
    /// # Errors
    /// What the peer says.
    fn run(&mut self) -> Result<()>;
    /// The output of the last inference.
    ///
    /// # Errors
    /// What the peer says.
    fn get(&mut self) -> Result<Vec<f32>>;
}

/// Serves a peer until standard input ends; `element` is the bytes of one value of the input.
pub(crate) fn serve(args: &Args, element: usize, version: &str, load: impl FnOnce() -> Result<Box<dyn Peer>>) {
    let ready = load().and_then(|mut peer| {
        let sample_len = args.shape.iter().product::<usize>() * element;
        let mut outputs = Vec::new();
        for sample in args.input.chunks_exact(sample_len) {
            peer.put(sample)?;
            peer.run()?;
            outputs.extend(peer.get()?.iter().flat_map(|v| v.to_le_bytes()));
        }
        std::fs::write(&args.output, outputs).map_err(|e| format!("{}: {e}", args.output))?;
        peer.put(&args.input[..sample_len])?;
        Ok(peer)
    });
    let mut peer = match ready {
        Ok(peer) => peer,
        Err(why) => return println!("absent {}", why.replace('\n', " ")),
    };
    println!("ready {version}");
    for line in std::io::stdin().lock().lines().map_while(std::result::Result::ok) {
        let runs: usize = line.trim().parse().unwrap_or(0);
        let mut times = Vec::with_capacity(runs);
        for _ in 0..runs {
            let start = Instant::now();
            let done = peer.run();
            times.push(start.elapsed().as_nanos().to_string());
            if let Err(why) = done {
                eprintln!("{why}");
                return;
            }
        }
        println!("{}", times.join(" "));
        // A pipe that is gone ends the loop with the next line.
        let _ = std::io::stdout().flush();
    }
}
