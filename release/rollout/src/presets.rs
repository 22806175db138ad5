//! Policies to begin from: published practice of companies that ship models, as stages and guardrails. Each file names what it encodes.

/// A preset.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name in `preset:`.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Its stages and guardrails, YAML.
    pub yaml: &'static str,
    /// Models of this kind must go through an A/B stage; the others skip it.
    pub needs_ab_for: Option<&'static str>,
}

/// All presets.
pub const ALL: &[Preset] = &[
    Preset {
        name: "netflix",
        about: "canary 1% for a day, shadow, full; A/B for recommendations; back at errors +0.1% or twice the latency",
        yaml: include_str!("presets/netflix.yaml"),
        needs_ab_for: Some("recommendations"),
    },
    Preset {
        name: "airbnb",
        about: "1% for two weeks, two weeks of shadow, A/B on revenue (+2%, complaints below 0.5%); back within hours of a drop over 2%",
        yaml: include_str!("presets/airbnb.yaml"),
        needs_ab_for: None,
    },
    Preset {
        name: "google",
        about: "no regression against the champion: 1% for a week, 5% for a week, full",
        yaml: include_str!("presets/google.yaml"),
        needs_ab_for: None,
    },
    Preset {
        name: "lyft",
        about: "canary 1% for 4 hours, shadow everywhere for a day, A/B for a week; back when acceptance drops over 5%",
        yaml: include_str!("presets/lyft.yaml"),
        needs_ab_for: None,
    },
    Preset {
        name: "stripe",
        about: "canary 0.1% for a day, shadow everywhere for a week, A/B for 3 days; back at twice the false positives or over 100 ms",
        yaml: include_str!("presets/stripe.yaml"),
        needs_ab_for: None,
    },
    Preset {
        name: "appstore7",
        about: "phased release of app stores: 1, 2, 5, 10, 20, 50, 100% over seven days",
        yaml: include_str!("presets/appstore7.yaml"),
        needs_ab_for: None,
    },
];

/// The preset `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Preset> {
    ALL.iter().find(|preset| preset.name == name)
}
