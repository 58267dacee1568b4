//! Two people break the glass at the command line: it is loud, it is over when it is closed, and it gives nothing lasting.

use anyhow::{Context as _, bail, ensure};
use fettle_model::record::Body;
use fettle_proto::operator::{BreakGlassRow, QueryReply};
use fettle_tests::operator::Operator;
use fettle_tests::site::Site;

const STOP: [&str; 4] = ["stop", "global", "--why", "an emergency"];

fn asks(person: &Operator) -> anyhow::Result<Vec<BreakGlassRow>> {
    let QueryReply::BreakGlass { asks } = person.json(&["break-glass", "list"])? else {
        bail!("asks were asked for: fettle answered something else")
    };
    Ok(asks)
}

/// Standard output and error of a command that succeeds.
fn said(person: &Operator, arguments: &[&str]) -> anyhow::Result<(String, String)> {
    let output = person.run(arguments)?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "fettle {}: {out}{err}", arguments.join(" "));
    Ok((out.into_owned(), err.into_owned()))
}

#[test]
fn a_second_person_opens_a_role_for_a_while_and_everybody_sees_it() -> anyhow::Result<()> {
    Site::test_bare(|site| {
        let [ann, ben] = [("ann", "viewer"), ("ben", "approver")].map(|(person, role)| -> anyhow::Result<Operator> {
            let profile = site.path(person);
            site.operator.add_person(person, role, &profile)?;
            Ok(Operator::new(&site.control_plane, &profile))
        });
        let (ann, ben) = (ann?, ben?);
        let (code, told) = ann.refused(&STOP)?;
        ensure!(code == 7, "exit {code}: {told}");
        ann.done(&["break-glass", "ask", "operator", "--why", "nobody answers"])?;
        let ask = asks(&ben)?.first().context("an ask waits")?.ask.to_string();
        for (person, why) in [(&ann, "she asked"), (&site.operator, "she registered ann's key, and may be ann")] {
            if why.starts_with("she registered") {
                person.done(&["person", "key"])?;
            }
            let (code, told) = person.refused(&["break-glass", "confirm", &ask])?;
            ensure!(code == 7, "{why}: exit {code}: {told}");
        }
        ben.done(&["break-glass", "confirm", &ask])?;

        let (_, beside) = said(&ann, &["host", "list"])?;
        ensure!(beside.contains("GLASS IS BROKEN: you are operator until"), "{beside}");
        ann.done(&STOP)?;
        let (code, told) = ann.refused(&["person", "grant", "ann", "--role", "operator"])?;
        ensure!(code == 7 && told.contains("GLASS IS BROKEN"), "exit {code}: {told}");
        let (code, told) = ann.refused(&["resume", "global", "--why", "what was stopped stays so"])?;
        ensure!(code == 7, "exit {code}: {told}");
        let (status, beside) = said(&site.operator, &["status"])?;
        ensure!(status.contains("GLASS IS BROKEN") && status.contains("ann is operator until"), "{status}");
        ensure!(!beside.contains("GLASS IS BROKEN"), "it is not hers: {beside}");

        ann.done(&["break-glass", "close", &ask, "--why", "done"])?;
        let (code, told) = ann.refused(&STOP)?;
        ensure!(code == 7, "exit {code}: {told}");
        let (listed, _) = said(&site.operator, &["log", "list"])?;
        ensure!(listed.contains("BROKEN GLASS: global stopped by ann"), "{listed}");

        let log = site.verified_log()?;
        let count = |of: fn(&Body) -> bool| log.records().iter().filter(|record| of(&record.body)).count();
        ensure!(count(|body| matches!(body, Body::BreakGlassOpened(_))) == 1, "it was opened once");
        ensure!(count(|body| matches!(body, Body::IncidentOpened(_))) == 1, "people were called");
        Ok(())
    })
}
