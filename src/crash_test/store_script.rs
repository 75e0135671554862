//! What is done to a store while the power goes.

use super::draw::Draw;
use super::script::{Flavor, Step};
use crate::{DEFAULT_KEYSPACE, Durability};

/// The keyspaces. A write to one goes to the default one until it is there.
pub(super) const SPACES: [&str; 3] = [DEFAULT_KEYSPACE, USERS, LATE];

const USERS: &str = "users";

/// Made behind a checkpoint.
const LATE: &str = "late";

/// What can be done to a store.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Write {
        changes: Vec<Change>,
        durability: Durability,
    },
    CreateKeyspace(&'static str),
    DropKeyspace(&'static str),
    Sync,
    Mark,
    /// Makes the log's next segment's file ahead.
    PrepareSpare,
    /// Takes a checkpoint, and removes what it makes superfluous.
    Checkpoint,
    Prune,
    /// Makes a store of its own from this one: with the state as it is now, or so many LSNs back.
    Copy {
        back: u64,
    },
}

/// A put, or a delete where there is no value.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) space: &'static str,
    pub(super) key: String,
    pub(super) value: Option<Vec<u8>>,
}

/// The steps of a script.
pub(super) fn script(flavor: Flavor, checkpoints: bool, draw: &mut Draw) -> Vec<Step<Action>> {
    let mut steps = vec![Step::Open];
    let reopen = [Step::Close, Step::Open];
    let create = |name| Step::Act(Action::CreateKeyspace(name));
    let drop = |name| Step::Act(Action::DropKeyspace(name));
    let checkpoint = Step::Act(Action::Checkpoint);
    match flavor {
        Flavor::Creation => writes(&mut steps, draw, 1, 20),
        Flavor::Append => {
            writes(&mut steps, draw, 4, 60);
            steps.push(create(USERS));
            writes(&mut steps, draw, 8, 60);
            steps.push(drop(USERS));
            steps.extend(reopen);
            writes(&mut steps, draw, 2, 300);
            steps.push(create(USERS));
            writes(&mut steps, draw, 2, 300);
        }
        Flavor::Close => {
            for _ in 0..4 {
                writes(&mut steps, draw, 2, 60);
                steps.extend(reopen.clone());
            }
        }
        Flavor::Rotation => {
            steps.push(create(USERS));
            writes(&mut steps, draw, 10, 1200);
        }
        Flavor::Checkpoint => {
            steps.push(create(USERS));
            if draw.one_in(2) {
                // Of a state without a key.
                steps.push(checkpoint.clone());
            }
            writes(&mut steps, draw, 4, 100);
            steps.push(checkpoint.clone());
            writes(&mut steps, draw, 2, 100);
            steps.push(create(LATE));
            writes(&mut steps, draw, 3, 100);
            steps.extend([checkpoint.clone(), drop(LATE)]);
            steps.extend(reopen);
            writes(&mut steps, draw, 3, 300);
            steps.extend([checkpoint, Step::Act(Action::Prune)]);
            // No keyspace gets the number of the one that is gone, which only the checkpoint knows now.
            steps.push(create(LATE));
            writes(&mut steps, draw, 1, 100);
        }
        Flavor::Retention => {
            steps.push(create(USERS));
            for round in 0..4 {
                writes(&mut steps, draw, 5, 700);
                steps.push(checkpoint.clone());
                match round {
                    1 => steps.push(create(LATE)),
                    2 => steps.push(drop(USERS)),
                    _ => {}
                }
                if draw.one_in(2) {
                    writes(&mut steps, draw, 3, 700);
                    steps.extend(reopen.clone());
                    steps.push(Step::Act(Action::Prune));
                }
            }
        }
        Flavor::Archive => {
            steps.push(create(USERS));
            for _ in 0..3 {
                writes(&mut steps, draw, 5, 900);
                steps.push(checkpoint.clone());
                if draw.one_in(2) {
                    steps.extend(reopen.clone());
                    steps.push(Step::Act(Action::Prune));
                }
            }
        }
        Flavor::Copy => {
            writes(&mut steps, draw, 4, 300);
            steps.push(Step::Act(Action::Copy { back: 0 }));
            steps.push(create(USERS));
            writes(&mut steps, draw, 5, 900);
            // A mark proves what is before it; beside a writer, nothing else is taken.
            steps.extend([checkpoint, Step::Act(Action::Mark)]);
            steps.push(Step::Act(Action::Copy { back: 1 + draw.below(8) }));
            steps.extend(reopen);
            writes(&mut steps, draw, 2, 100);
            steps.push(Step::Act(Action::Copy { back: 0 }));
        }
        Flavor::Kill | Flavor::FailedSync | Flavor::Cut | Flavor::KillCut => {
            writes(&mut steps, draw, 3, 500);
            steps.push(create(USERS));
            if checkpoints {
                steps.push(checkpoint.clone());
            }
            writes(&mut steps, draw, 2, 900);
            steps.extend(reopen);
            writes(&mut steps, draw, 2, 900);
            if checkpoints {
                steps.extend([checkpoint, Step::Act(Action::Prune)]);
            }
        }
    }
    steps.push(Step::Close);
    if flavor == Flavor::FailedSync {
        // Nobody hears of a sync that fails while a spare is made, and nothing depends on it.
        steps.retain(|step| !matches!(step, Step::Act(Action::PrepareSpare)));
    }
    steps
}

/// The values of a batch together: more does not fit into a segment.
const MOST_IN_A_BATCH: u64 = 3800;

/// Some batches: puts, overwrites and deletes over a few keys in all keyspaces, synced or buffered.
fn writes(steps: &mut Vec<Step<Action>>, draw: &mut Draw, count: u64, longest: u64) {
    for _ in 0..count {
        let in_batch = if draw.one_in(2) { 2 + draw.below(4) } else { 1 };
        let changes = (0..in_batch).map(|_| Change {
            space: SPACES[draw.choice(SPACES.len())],
            key: format!("key {}", draw.below(12)),
            value: (!draw.one_in(4)).then(|| draw.payload(0, longest.min(MOST_IN_A_BATCH / in_batch))),
        });
        let changes = changes.collect();
        let durability = if draw.one_in(2) { Durability::Buffered } else { Durability::Sync };
        steps.push(Step::Act(Action::Write { changes, durability }));
        if draw.one_in(4) {
            steps.push(Step::Act(Action::PrepareSpare));
        }
        match draw.below(10) {
            0 | 1 => steps.push(Step::Act(Action::Mark)),
            2 => steps.push(Step::Act(Action::Sync)),
            _ => {}
        }
    }
}
