//! Decisions in memory, without a server: how long they take, and what the memory weighs. Each size
//! of the world in a process of its own, which tells its figures in one line.

mod linked;

use std::hint::black_box;
use std::time::Instant;

use portcullis::domain::access_settings::Visibility;
use portcullis::domain::fact::{
    GrantFact, ItemFact, ItemSettings, OrganizationChanges, SubjectFact,
};
use portcullis::domain::page::Page;
use portcullis::domain::{ItemKey, PortfolioId, RoleKey, Subject, Timestamp};
use portcullis::policy::{self, Asked, Compiler, Global, Query, Snapshot};

use super::Outcome;
use super::child::{self, Child};
use super::report::{Goal, Report, quantile};
use super::world::{self, World};

const PERMISSION: &str = "portfolio.view";
const NOW: Timestamp = Timestamp(1_000_000);
/// The page of a list, at most: as the server serves it.
const PAGE: usize = 1_000;

const GOALS: &[(&str, Goal)] = &[
    ("decide_ns_100k", Goal::AtMost(400.0)),
    ("decide_ns_10m", Goal::AtMost(1_300.0)),
    ("decide_ns_10m_hot", Goal::AtMost(400.0)),
    ("bytes_per_grant", Goal::AtMost(80.0)),
    ("load_peak_over_resident", Goal::AtMost(2.0)),
    ("bytes_estimate_over_rss", Goal::AtMost(1.25)),
    ("list_accessible_flatness", Goal::AtMost(1.5)),
    ("apply_ms", Goal::AtMost(5.0)),
    ("decide_linked_16_over_0", Goal::AtMost(1.5)),
];

pub fn measure(report: &mut Report) -> Outcome<()> {
    for grants in ["100000", "1000000", "10000000"] {
        let child = Child::start("decide", &[grants])?;
        let (sizes, figures) = child.line.split_once('|').ok_or("no figures")?;
        report.note(sizes.trim());
        for figure in figures.split_whitespace() {
            let (name, value) = figure.split_once('=').ok_or("no figure")?;
            let goal = GOALS.iter().find(|(named, _)| *named == name);
            report.value(name, value.parse()?, goal.map_or(Goal::None, |(_, goal)| *goal));
        }
    }
    Ok(())
}

/// The child: one world, and every figure of it.
pub async fn run(grants: &str) -> Outcome<()> {
    let world = World::of(grants.parse()?);
    let size = match world.grants {
        100_000 => "100k",
        1_000_000 => "1m",
        _ => "10m",
    };
    let global = Global::compile(world.global());
    let mut figures = Figures { size, line: String::new() };
    let snapshot = load(world, &global, &mut figures)?;
    decisions(world, &global, &snapshot, &mut figures);
    batches(world, &global, &snapshot, &mut figures);
    lists(&global, &snapshot, &mut figures);
    if size == "1m" {
        linked::decisions(world, &global, &snapshot, &mut figures);
        changes(world, &global, snapshot, &mut figures);
    }
    let World { grants, users, groups, portfolios } = world;
    child::ready(format!(
        "{grants} grants, {users} users, {groups} groups, {portfolios} portfolios | {}",
        figures.line
    ))
    .await
}

struct Figures {
    size: &'static str,
    line: String,
}

impl Figures {
    fn add(&mut self, name: &str, value: f64) {
        self.line += &format!("{name}={value} ");
    }

    /// A figure that each size has.
    fn of_size(&mut self, name: &str, value: f64) {
        self.add(&format!("{name}_{}", self.size), value);
    }
}

fn load(world: World, global: &Global, figures: &mut Figures) -> Outcome<Snapshot> {
    // Resets the peak.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = memory("VmRSS")?;
    let mut compiler = Compiler::new("bench".parse()?);
    let (mut made, mut compiled) = (0.0, 0.0);
    let mut parts = world.parts();
    loop {
        let began = Instant::now();
        let Some(part) = parts.next() else { break };
        made += began.elapsed().as_secs_f64();
        let began = Instant::now();
        compiler.add(part);
        compiled += began.elapsed().as_secs_f64();
    }
    let began = Instant::now();
    let snapshot = compiler.finish(global);
    compiled += began.elapsed().as_secs_f64();
    let resident = memory("VmRSS")? - before;
    figures.of_size("compile_seconds", compiled);
    figures.of_size("generate_seconds", made);
    figures.of_size("bytes_estimate_over_rss", snapshot.bytes() as f64 / resident);
    if figures.size == "10m" {
        figures.add("bytes_per_grant", resident / world.grants as f64);
        figures.add("load_peak_over_resident", (memory("VmHWM")? - before) / resident);
        let estimate = snapshot.bytes() as f64 / resident;
        figures.add("bytes_estimate_over_rss", estimate.max(1.0 / estimate));
    }
    Ok(snapshot)
}

/// A line of `/proc/self/status`, in bytes.
fn memory(name: &str) -> Outcome<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no such line")?;
    Ok(kilobytes.parse::<f64>()? * 1024.0)
}

struct Question {
    subject: Subject,
    portfolio: PortfolioId,
}

impl Question {
    fn query(&self) -> Query<'_> {
        let (subject, portfolio) = (&self.subject, self.portfolio.as_str());
        Query { subject, permission: PERMISSION, portfolio, author: None, item: None, at: NOW }
    }

    fn ask(&self, global: &Global, snapshot: &Snapshot) -> bool {
        policy::check(global, snapshot, &self.query()).is_ok_and(|decision| decision.allowed)
    }
}

/// Uniform questions about active users, of which the answer is the one that is wanted. Of those
/// that are allowed, as many by grants of their own and by grants to groups as there are of either.
struct Questions<'a> {
    world: World,
    global: &'a Global,
    snapshot: &'a Snapshot,
    drawn: usize,
}

impl Questions<'_> {
    fn draw(&mut self, allowed: bool) -> Question {
        loop {
            let n = self.drawn;
            self.drawn += 1;
            let portfolio = world::pick(7, n, 0, self.world.portfolios);
            let direct = allowed && world::pick(7, n, 1, 100) < 80;
            let user = if direct {
                let users = self.world.users_of(portfolio);
                users[world::pick(7, n, 2, users.len())]
            } else {
                world::pick(7, n, 3, self.world.users)
            };
            let (subject, portfolio) = (world::user(user), world::portfolio(portfolio));
            let question = Question { subject, portfolio };
            if !world::is_deactivated(user) && question.ask(self.global, self.snapshot) == allowed {
                return question;
            }
        }
    }
}

/// How many questions of either kind are asked, one after the other: of ten million grants they
/// read more than a processor's cache holds, so that it never helps more than it must.
const DRAWN: usize = 1 << 15;
/// How many make a sample.
const SAMPLE: usize = 1 << 7;

fn decisions(world: World, global: &Global, snapshot: &Snapshot, figures: &mut Figures) {
    let mut questions = Questions { world, global, snapshot, drawn: 0 };
    let yes: Vec<Question> = (0..DRAWN).map(|_| questions.draw(true)).collect();
    let no: Vec<Question> = (0..DRAWN).map(|_| questions.draw(false)).collect();
    let ask = |it: &Question| it.ask(global, snapshot);
    let look_up = |it: &Question| {
        let found = snapshot.contains_portfolio(it.portfolio.as_str());
        found & policy::is_internal(snapshot, &it.subject)
    };
    let (mut allowed, mut denied, mut both, mut look_ups) = (vec![], vec![], vec![], vec![]);
    for _ in 0..4 {
        for (yes, no) in yes.chunks(SAMPLE).zip(no.chunks(SAMPLE)) {
            let (a, d) = (per_call(yes, ask), per_call(no, ask));
            allowed.push(a);
            denied.push(d);
            both.push(f64::midpoint(a, d));
        }
        for (yes, no) in yes.chunks(SAMPLE).zip(no.chunks(SAMPLE)) {
            look_ups.push(f64::midpoint(per_call(yes, look_up), per_call(no, look_up)));
        }
    }
    let median = |samples: &[f64]| quantile(samples, 0.5);
    figures.of_size("decide_ns", median(&both));
    figures.of_size("decide_allowed_ns", median(&allowed));
    figures.of_size("decide_denied_ns", median(&denied));
    figures.of_size("two_look_ups_ns", median(&look_ups));
    let few: Vec<&Question> = yes[..32].iter().chain(&no[..32]).collect();
    let hot: Vec<f64> = (0..1_000).map(|_| per_call(&few, |it| it.ask(global, snapshot))).collect();
    figures.add(&format!("decide_ns_{}_hot", figures.size), median(&hot));
    items(global, snapshot, &yes, figures);
}

/// The same on an independent item that the portfolio shows: two settings are looked at (ACC-5).
/// Each question has an item of its own, so that none is in the processor's cache.
fn items(global: &Global, snapshot: &Snapshot, yes: &[Question], figures: &mut Figures) {
    let key = |n: usize| -> Option<ItemKey> { format!("board:b{n}").parse().ok() };
    let fact = |(n, question): (usize, &Question)| {
        let grant = GrantFact {
            subject: question.subject.clone(),
            role: RoleKey::viewer(),
            start_time: None,
            expire_time: None,
        };
        let fact = ItemFact {
            key: key(n)?,
            portfolios: vec![question.portfolio.clone()],
            author: None,
            archived: false,
            settings: Some(ItemSettings {
                visibility: Visibility::Private,
                organization_access_role: RoleKey::viewer(),
                grants: vec![grant],
            }),
        };
        Some((fact.key.clone(), Some(fact)))
    };
    let items = yes.iter().enumerate().filter_map(fact).collect();
    let changes = OrganizationChanges { items, ..OrganizationChanges::default() };
    let snapshot = snapshot.apply(changes, global);
    let asked: Vec<(&Question, ItemKey)> =
        yes.iter().enumerate().filter_map(|(n, it)| Some((it, key(n)?))).collect();
    let ask = |(question, key): &(&Question, ItemKey)| {
        let query = Query { item: Some(key), ..question.query() };
        policy::check(global, &snapshot, &query).is_ok_and(|decision| decision.allowed)
    };
    let samples: Vec<f64> = asked.chunks(SAMPLE).map(|asked| per_call(asked, ask)).collect();
    figures.of_size("decide_ns_item", quantile(&samples, 0.5));
}

/// Nanoseconds per call.
fn per_call<T>(all: &[T], call: impl Fn(&T) -> bool) -> f64 {
    let began = Instant::now();
    for it in all {
        black_box(call(it));
    }
    began.elapsed().as_nanos() as f64 / all.len() as f64
}

/// One subject and permission over many portfolios, looked up once, as a batch may.
fn batches(world: World, global: &Global, snapshot: &Snapshot, figures: &mut Figures) {
    let mut prepared = Vec::new();
    for round in 0..50 {
        let user = world::user(world::pick(8, round, 0, world.users));
        let portfolios: Vec<PortfolioId> = (0..1_000)
            .map(|n| world::portfolio(world::pick(9, round, n, world.portfolios)))
            .collect();
        let began = Instant::now();
        let Ok(asked) = Asked::about(global, snapshot, &user, PERMISSION) else { continue };
        for portfolio in &portfolios {
            black_box(asked.decide(portfolio.as_str(), None, NOW));
        }
        prepared.push(began.elapsed().as_nanos() as f64 / portfolios.len() as f64);
    }
    figures.of_size("decide_prepared_ns", quantile(&prepared, 0.5));
}

/// Of each kind of list: the results, and the microseconds for each.
type Turn = [(usize, f64); 3];

/// Lists of 10 and of 10 thousand portfolios, as many of each, and of somebody who reaches
/// thousands through 40 groups. By turns: what slows the machine for a while slows all of them.
fn lists(global: &Global, snapshot: &Snapshot, figures: &mut Figures) {
    let few: Vec<Subject> = (0..world::FEW).map(world::few).collect();
    let (many, grouped) = ([world::many()], [world::user(0)]);
    let kinds: [(_, &[Subject]); 3] = [("10", &few), ("10k", &many), ("groups", &grouped)];
    let turn = || -> Turn {
        kinds.map(|(_, subjects)| {
            let began = Instant::now();
            let results: usize = subjects.iter().map(|who| list(global, snapshot, who)).sum();
            (results, began.elapsed().as_nanos() as f64 / 1_000.0 / results as f64)
        })
    };
    let turns: Vec<_> = (0..15).map(|_| turn()).collect();
    let median = |figure: &dyn Fn(&Turn) -> f64| {
        quantile(&turns.iter().map(figure).collect::<Vec<f64>>(), 0.5)
    };
    for (kind, (name, subjects)) in kinds.iter().enumerate() {
        let results = median(&|turn| turn[kind].0 as f64 / subjects.len() as f64);
        figures.of_size(&format!("list_{name}_results"), results);
        let each = median(&|turn| turn[kind].1);
        figures.of_size(&format!("list_accessible_us_per_result_{name}"), each);
    }
    if figures.size == "10m" {
        let slower = median(&|[few, many, _]| few.1.max(many.1));
        figures.add("list_accessible_us_per_result", slower);
        let few_over_many = median(&|[few, many, _]| few.1 / many.1);
        figures.add("list_accessible_flatness", few_over_many.max(few_over_many.recip()));
    }
}

fn list(global: &Global, snapshot: &Snapshot, who: &Subject) -> usize {
    let mut length = 0;
    let mut page = Page { size: PAGE, after: None };
    loop {
        let found = policy::accessible_portfolios(global, snapshot, who, PERMISSION, NOW, &page)
            .expect("the permission is known");
        length += found.rows.len();
        if !found.more {
            return length;
        }
        page.after = found.rows.last().map(|(id, _)| id.clone());
    }
}

/// One change after the other, each on the snapshot before it: a portfolio's grants, a user's
/// groups, a group's parent. The old one is dropped as the feed does it.
fn changes(world: World, global: &Global, mut snapshot: Snapshot, figures: &mut Figures) {
    let portfolio = |n: usize| {
        let other = world::pick(10, n, 0, world.portfolios);
        let mut fact = world.portfolio(world::pick(10, n, 1, world.portfolios));
        // All hundred grants change.
        fact.grants = world.portfolio(other).grants;
        let portfolios = vec![(fact.id.clone(), Some(fact))];
        OrganizationChanges { portfolios, ..OrganizationChanges::default() }
    };
    let standing = |subject: Subject, groups: Vec<usize>| {
        let home = portcullis::domain::directory::Standing { home: true, ..Default::default() };
        let groups = groups.into_iter().map(world::group).collect();
        let fact = SubjectFact { subject, standing: home, active: true, groups };
        let subjects = vec![(fact.subject.clone(), Some(fact))];
        OrganizationChanges { subjects, ..OrganizationChanges::default() }
    };
    let user = |n: usize| {
        let groups = world.groups_of(world::pick(11, n, 0, world.users));
        standing(world::user(world::pick(11, n, 1, world.users)), groups)
    };
    let nested = |n: usize| {
        let child = world::pick(12, n, 0, world.groups / 4);
        let parent = world.parent_of(world::pick(12, n, 1, world.groups / 4));
        standing(Subject::Group(world::group(child)), parent.into_iter().collect())
    };
    let kinds: [(&str, &dyn Fn(usize) -> OrganizationChanges); 3] =
        [("portfolio", &portfolio), ("user", &user), ("group", &nested)];
    let (mut all, mut drops) = (Vec::new(), Vec::new());
    for (name, change) in kinds {
        let mut times = Vec::new();
        for n in 0..500 {
            let change = change(n);
            let began = Instant::now();
            let next = snapshot.apply(change, global);
            let applied = began.elapsed().as_secs_f64() * 1e3;
            drop(std::mem::replace(&mut snapshot, next));
            drops.push(began.elapsed().as_secs_f64() * 1e3 - applied);
            times.push(applied);
        }
        figures.add(&format!("apply_{name}_ms_p50"), quantile(&times, 0.5));
        figures.add(&format!("apply_{name}_ms_p99"), quantile(&times, 0.99));
        all.extend(times);
    }
    figures.add("apply_ms", quantile(&all, 0.99));
    figures.add("apply_drop_ms_p99", quantile(&drops, 0.99));
}
