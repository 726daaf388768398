//! One case: a name, where its expectation comes from, what it needs, what it does.

use crate::host::Need;
use crate::trial::Trial;
use crate::verdict::Verdict;

/// Where an expectation comes from.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// A sentence of the runtime-spec, quoted.
    Spec,
    /// What callers of runc rely on.
    Runc,
    /// A trap that a safe runtime stands: the case of the security plan.
    Security(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Spec => write!(formatter, "spec"),
            Self::Runc => write!(formatter, "runc contract"),
            Self::Security(case) => write!(formatter, "security case {case}"),
        }
    }
}

type Run = Box<dyn Fn(&mut Trial) -> Verdict + Send + Sync>;

/// A case that is complete.
pub struct Case {
    /// `section/what`, unique.
    pub name: String,
    /// Where the expectation comes from.
    pub origin: Origin,
    /// The sentence that is tested.
    pub sentence: String,
    /// Where it can be tested.
    pub needs: Vec<Need>,
    /// The test.
    pub run: Run,
}

impl Case {
    /// Whether it is a case for an ordinary user.
    pub fn is_rootless(&self) -> bool {
        self.needs.iter().any(|need| matches!(need, Need::OrdinaryUser))
    }
}

/// A case in the making.
pub struct Draft {
    name: String,
    origin: Origin,
    sentence: String,
    needs: Vec<Need>,
}

/// Begin a case.
pub fn case(name: impl Into<String>) -> Draft {
    Draft { name: name.into(), origin: Origin::Spec, sentence: String::new(), needs: Vec::new() }
}

impl Draft {
    /// The expectation is this sentence of the runtime-spec.
    pub fn spec(mut self, sentence: impl Into<String>) -> Self {
        self.sentence = sentence.into();
        self
    }

    /// The expectation is what runc does and its callers rely on.
    pub fn runc(mut self, sentence: impl Into<String>) -> Self {
        self.origin = Origin::Runc;
        self.sentence = sentence.into();
        self
    }

    /// The expectation is the safe outcome of a case of the security plan.
    pub fn security(mut self, case: &'static str, sentence: impl Into<String>) -> Self {
        self.origin = Origin::Security(case);
        self.sentence = sentence.into();
        self
    }

    /// The case needs this.
    pub fn needs(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    /// The case needs these.
    pub fn needs_all(mut self, needs: &[Need]) -> Self {
        self.needs.extend_from_slice(needs);
        self
    }

    /// The case does this.
    pub fn run(self, run: impl Fn(&mut Trial) -> Verdict + Send + Sync + 'static) -> Case {
        let Self { name, origin, sentence, needs } = self;
        Case { name, origin, sentence, needs, run: Box::new(run) }
    }
}
