//! What holds, and what does not where a rule is taken out.

use stateright::{Checker, Model, Property};

use super::check::Step;
use super::world::{Change, Script, Without, World};
use super::{Budget, Mirror};

const UPDATES: &[Change] = &[Change::Put(1), Change::Put(2)];
const DELETED: &[Change] = &[Change::Put(1), Change::Delete];
const UPDATED_AND_DELETED: &[Change] = &[Change::Put(1), Change::Put(2), Change::Delete];
const RE_CREATED: &[Change] = &[Change::Put(1), Change::Delete, Change::Put(3)];

const LABELLED: &[Change] = &[Change::Put(1), Change::Filtered(2)];
const UNLABELLED: &[Change] = &[Change::Filtered(1), Change::Put(2)];
const LABELLED_FOR_A_WHILE: &[Change] = &[Change::Put(1), Change::Filtered(2), Change::Put(3)];
const LABELLED_AND_DELETED: &[Change] = &[Change::Put(1), Change::Filtered(2), Change::Delete];

const EVERYTHING: Budget = Budget { faults: 1, ticks: 1, copies: 1 };
/// A cut attempt and a store that fails, say.
const TWO_FAULTS: Budget = Budget { faults: 2, ticks: 1, copies: 0 };
const CALM: Budget = Budget { faults: 1, ticks: 1, copies: 0 };

fn explore(mirror: Mirror) -> impl Checker<Mirror> {
    let checker = mirror.checker().threads(2).spawn_bfs().join();
    assert!(checker.is_done());
    checker
}

/// Explores all and finds nothing.
#[allow(clippy::print_stdout)]
fn holds_with(scripts: &'static [Script], has_cdr: bool, budget: Budget) {
    let checker = explore(Mirror { scripts, has_cdr, budget, without: None });
    println!("{} states, {} deep, {budget:?}", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

#[test]
fn updates_hold() {
    holds_with(&[UPDATES], true, EVERYTHING);
    holds_with(&[UPDATES], false, EVERYTHING);
}

#[test]
fn deletes_hold() {
    holds_with(&[DELETED], true, EVERYTHING);
    holds_with(&[DELETED], false, EVERYTHING);
}

#[test]
fn updates_hold_with_two_faults() {
    holds_with(&[UPDATES], true, TWO_FAULTS);
}

#[test]
fn deletes_hold_with_two_faults() {
    holds_with(&[DELETED], true, TWO_FAULTS);
}

#[test]
fn updates_and_deletes_hold() {
    holds_with(&[UPDATED_AND_DELETED], true, CALM);
    holds_with(&[UPDATED_AND_DELETED], false, CALM);
}

#[test]
fn re_creations_hold() {
    holds_with(&[RE_CREATED], true, CALM);
    holds_with(&[RE_CREATED], false, CALM);
}

/// A label that keeps a resource out comes, goes, or comes and goes: with and without a CDR to be asked.
#[test]
fn what_is_filtered_is_taken_away_and_comes_back() {
    for has_cdr in [true, false] {
        holds_with(&[LABELLED], has_cdr, EVERYTHING);
        holds_with(&[UNLABELLED], has_cdr, EVERYTHING);
        holds_with(&[LABELLED_FOR_A_WHILE], has_cdr, CALM);
        holds_with(&[LABELLED_AND_DELETED], has_cdr, CALM);
    }
}

#[test]
fn what_is_filtered_is_taken_away_with_two_faults() {
    holds_with(&[LABELLED], true, TWO_FAULTS);
    holds_with(&[UNLABELLED], true, TWO_FAULTS);
}

/// Each rule is needed: without it a counterexample is found.
fn fails_without(without: Without, scripts: &'static [Script], property: &'static str) {
    fails_with(CALM, without, scripts, property);
}

fn fails_with(budget: Budget, without: Without, scripts: &'static [Script], property: &'static str) {
    let mirror = Mirror { scripts, has_cdr: true, budget, without: Some(without) };
    let found = stateright::HasDiscoveries::AnyOf([property].into());
    let checker = mirror.checker().finish_when(found).threads(2).spawn_bfs().join();
    checker.assert_any_discovery(property);
}

#[test]
fn without_claims_versions_go_back() {
    fails_without(Without::Claims, &[UPDATES], "versions never go back");
}

#[test]
fn without_versions_they_go_back() {
    fails_without(Without::Versions, &[UPDATES], "versions never go back");
}

#[test]
fn without_tombstones_the_deleted_reappears() {
    fails_without(Without::Tombstones, &[DELETED], "nothing deleted reappears");
}

#[test]
fn without_fences_a_late_write_goes_back() {
    fails_without(Without::Fences, &[UPDATES], "versions never go back");
}

#[test]
fn without_what_ended_claims_leave_behind_a_paused_write_goes_back() {
    fails_without(Without::LeftBehind, &[UPDATES, DELETED], "versions never go back");
}

#[test]
fn without_keeping_a_claim_under_which_was_sent_versions_go_back() {
    let budget = Budget { faults: 2, ticks: 0, copies: 1 };
    fails_with(budget, Without::KeptClaims, &[UPDATES], "versions never go back");
}

/// docs/order.md, "Why two round trips to DynamoDB": the outcome alone is not safe.
#[test]
fn one_round_trip_without_a_claim_beforehand_goes_back() {
    fails_without(Without::ClaimsBeforehand, &[UPDATES], "versions never go back");
    fails_without(Without::ClaimsBeforehand, &[DELETED], "nothing deleted reappears");
}

/// The claim alone is: but nothing else gets through until it has ended by itself.
#[test]
fn one_round_trip_without_the_outcome_holds_the_resource_up() {
    let budget = Budget { ticks: 0, ..CALM };
    let mirror = |without| Mirror { scripts: &[UPDATES], has_cdr: true, budget, without };
    explore(mirror(Some(Without::Outcomes))).assert_no_discovery("it becomes quiet and equal");
    explore(mirror(None)).assert_properties();
}

/// But the sender need not wait for the second: if it gets lost, the claim still tells what may have been written.
#[test]
fn an_answer_before_the_outcome_is_written_down_would_hold() {
    for scripts in [&[UPDATES], &[DELETED]] {
        let without = Some(Without::OutcomesBeforeAnswers);
        explore(Mirror { scripts, has_cdr: true, budget: CALM, without }).assert_properties();
    }
}

/// Rule 4: a late DELETE takes the re-creation away where no CDR is asked. That is the rule without a CDR,
/// written down and counted.
#[test]
fn without_a_cdr_a_re_creation_may_be_taken_away() {
    let mirror = Mirror { scripts: &[RE_CREATED], has_cdr: false, budget: CALM, without: None };
    let taken_away = |world: &World| world.taken_away;
    let found = Watched { mirror, taken_away }.checker().threads(2).spawn_bfs().join();
    found.assert_any_discovery("taken away");
}

/// The same model, looked at for one thing.
struct Watched {
    mirror: Mirror,
    taken_away: fn(&World) -> bool,
}

impl Model for Watched {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        self.mirror.init_states()
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        self.mirror.actions(world, steps);
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        self.mirror.next_state(last, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::sometimes("taken away", |model: &Self, world: &World| (model.taken_away)(world))]
    }
}
