//! `portcullis apply`: makes the server hold what a file says. Reads what is there, prints what it
//! will do, does it, one call after the other: cut off, another run does the rest.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;
use serde_json::json;

use self::act::{Acted, Refused};
use self::change::{Action, Change, Kind};
use self::file::File;
use self::plan::{OwnerIs, Plan};
use self::present::Present;
use super::inventory::Inventory;
use super::{ClientArguments, Failure, Outcome, output, text};
use crate::clock::Clock;
use crate::domain::Subject;
use crate::grpc::client::{CallError, Client};

mod act;
pub(super) mod change;
mod differences;
mod directory;
pub(super) mod file;
mod functions;
mod grants;
mod items;
mod links;
mod plan;
mod present;
mod prune;
mod roles;
mod validate;
mod words;

/// Plans up to this long are printed line by line, longer ones in numbers only.
const SHORT: usize = 40;

#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// What the server is to hold, YAML or JSON
    file: PathBuf,

    /// Print the plan, change by change, and do nothing
    #[arg(long, env = "PORTCULLIS_DRY_RUN", value_parser = BoolishValueParser::new())]
    dry_run: bool,

    /// Also take away what the organization has and the file does not: grants, members of groups,
    /// groups, portfolios and items (for good), roles of its own, administrators, affiliations and
    /// ceilings of functions; users and service accounts are deactivated. Lists that the file
    /// leaves out are left alone
    #[arg(long, env = "PORTCULLIS_PRUNE", value_parser = BoolishValueParser::new())]
    prune: bool,

    /// Take away without asking; needed where there is no terminal to ask at
    #[arg(long, env = "PORTCULLIS_YES", value_parser = BoolishValueParser::new())]
    yes: bool,

    #[command(flatten)]
    client: ClientArguments,
}

/// Shown below the help.
pub(crate) const EXAMPLES: &str = "\
Examples:
  portcullis apply acme.yaml --dry-run
  portcullis apply acme.yaml
  portcullis export acme > acme.yaml    # what is there, as such a file
  portcullis apply acme.yaml --prune    # and nothing else

Status 0: everything is as the file says, or waits for an administrator's approval. 2: something is
not; what was done stays, and applying the file again does the rest.";

/// Reads the file, plans, tells, acts.
pub(crate) async fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let name = arguments.file.display().to_string();
    let file = File::parse(&name, &text::read_file(&arguments.file)?)?;
    let client = arguments.client.connect().await?;
    let owner = match &arguments.client.actor {
        Some(Subject::User(_)) => OwnerIs::TheActor,
        _ => OwnerIs::Required,
    };
    let actor = arguments.client.actor.as_ref();
    let plan = plan(&client, &file, (actor, owner), arguments.prune).await?;
    let json = arguments.client.json;
    if !json {
        print_plan(&file, &plan, arguments.dry_run);
    }
    if !arguments.dry_run && !arguments.yes {
        confirm(&plan)?;
    }
    let acted = match arguments.dry_run {
        true => Acted::default(),
        false => act(&client, &plan).await?,
    };
    let refused = &acted.refused;
    if json {
        print_json(&plan, arguments.dry_run, &acted);
    } else if !arguments.dry_run && !plan.changes.is_empty() {
        let done = plan.changes.len() - refused.len();
        output::line(output::verdict(
            refused.is_empty(),
            &format!("{done} change{} made", if done == 1 { "" } else { "s" }),
        ));
        acted.waiting.iter().for_each(output::remark);
    }
    told(refused)?;
    Ok(Outcome::Yes)
}

/// Asks before anything is taken away.
fn confirm(plan: &Plan) -> Result<(), Failure> {
    let removals = plan.removals();
    if removals == 0 {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        let text = "nothing was changed: there is no terminal to ask at whether to take away";
        let hint = "add `--yes` once you have read what `--dry-run` says";
        return Err(Failure::Text(format!("{text} {removals} of these; {hint}")));
    }
    output::ask(format_args!("Take away {removals} of these, marked `-`? [y/N] "));
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match (read, answer.trim().to_ascii_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(Failure::Text("nothing was changed: not confirmed".to_owned())),
    }
}

/// Makes the server hold what a built-in file says, without a word; returns the number of changes.
pub(crate) async fn load(client: &Client, name: &str, content: &str) -> Result<usize, Failure> {
    let file = File::parse(name, content)?;
    let plan = plan(client, &file, (None, OwnerIs::Required), false).await?;
    told(&act(client, &plan).await?.refused)?;
    Ok(plan.changes.len())
}

async fn plan(
    client: &Client,
    file: &File,
    (actor, owner): (Option<&Subject>, OwnerIs),
    prune: bool,
) -> Result<Plan, Failure> {
    let present = Present::read(client, file, actor).await?;
    // This machine's clock decides only which ends in the file have passed.
    let mut plan = plan::diff(file, &present, owner, Clock::system().read().wall);
    let organization = file.organization.id.as_str();
    if prune && present.organizations.contains_key(organization) {
        prune::prune(file, &Inventory::read(client, organization).await?, &mut plan);
    }
    match plan.conflicts.as_slice() {
        [] => Ok(plan),
        conflicts => {
            let lines: String = conflicts.iter().map(|text| format!("\n  {text}")).collect();
            let text = "nothing was changed, because the file cannot be applied to this server";
            Err(Failure::Text(format!("{text}:{lines}")))
        }
    }
}

async fn act(client: &Client, plan: &Plan) -> Result<Acted, Failure> {
    let bar = output::progress("applying", plan.changes.len());
    let acted = act::act(client, &plan.changes, &bar).await;
    bar.finish_and_clear();
    acted.map_err(|error| {
        let text = "stopped in the middle; what was done so far stays, and applying the file \
                    again does the rest";
        let hint = error.hint.iter().map(|hint| format!("{hint}; ")).collect::<String>();
        Failure::Call(CallError { hint: Some(format!("{hint}{text}")), ..error })
    })
}

fn print_plan(file: &File, plan: &Plan, dry_run: bool) {
    plan.notes.iter().for_each(output::remark);
    if plan.changes.is_empty() {
        output::line("nothing to change");
        return;
    }
    output::line(format_args!("plan for organization {}:", file.organization.id));
    for kind in Kind::ALL {
        let [added, changed, removed] =
            [Action::Add, Action::Change, Action::Remove].map(|action| plan.count(kind, action));
        if added + changed + removed > 0 {
            let kind = kind.as_str();
            let removed = match plan.removals() {
                0 => String::new(),
                _ => format!(" {removed:>6} to take away"),
            };
            output::line(format_args!(
                "  {kind:<17}{added:>6} to add {changed:>6} to change{removed}"
            ));
        }
    }
    // What is taken away is always told in full.
    let all = dry_run || plan.changes.len() <= SHORT;
    let told = plan.changes.iter().filter(|change| all || change.action() == Action::Remove);
    told.for_each(output::line);
    if dry_run {
        output::line("nothing was changed: this was a dry run");
    }
}

fn print_json(plan: &Plan, dry_run: bool, acted: &Acted) {
    let Acted { refused, waiting } = acted;
    let change = |change: &Change| {
        let action = change.action().as_str();
        let text = change.to_string();
        let text = text.get(2..).unwrap_or_default();
        json!({ "action": action, "kind": change.kind().as_str(), "what": text })
    };
    let refusal = |(change, why): &Refused| json!({ "what": change, "why": why });
    output::line(json!({
        "dry_run": dry_run,
        "changes": plan.changes.iter().map(change).collect::<Vec<_>>(),
        "refused": refused.iter().map(refusal).collect::<Vec<_>>(),
        "waiting": waiting,
        "notes": plan.notes,
    }));
}

fn told(refused: &[Refused]) -> Result<(), Failure> {
    if refused.is_empty() {
        return Ok(());
    }
    let line = |(change, why): &Refused| format!("\n  {change}: {why}");
    let lines: String = refused.iter().map(line).collect();
    Err(Failure::Text(format!("the server refused {} of the changes:{lines}", refused.len())))
}

#[cfg(test)]
mod tests;
