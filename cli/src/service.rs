//! `fettle service`: services and the health of their checks, host by host.

mod show;

pub(crate) use show::status;

use crate::answer::Answer;
use crate::connection::{Connection, unexpected};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use clap::Subcommand;
use fettle_model::name::ServiceName;
use fettle_proto::operator::{Query, QueryReply, ServiceRow};

/// What to do with services.
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// List all services with a count of their checks by status.
    List,
    /// Show every check of one service on every host that carries it.
    Show {
        /// The service.
        service: ServiceName,
    },
}

/// Carries the command out.
///
/// # Errors
/// As the control plane and the connection say.
pub(crate) async fn run(command: ServiceCommand, context: &Context) -> Result<Answer, Failure> {
    let rows = all(&mut context.connect().await?).await?;
    match command {
        ServiceCommand::List => {
            let text = show::services(&rows);
            Answer::new(&QueryReply::Services { services: rows }, text)
        }
        ServiceCommand::Show { service } => {
            let row = rows.iter().find(|row| row.service == service).ok_or_else(|| {
                Failure::new(Exit::NotFound, format!("there is no service {service}"), "see `fettle service list`")
            })?;
            Answer::new(row, show::service(row, context.now))
        }
    }
}

async fn all(connection: &mut Connection) -> Result<Vec<ServiceRow>, Failure> {
    let QueryReply::Services { services } = connection.query(&Query::Services).await? else {
        return unexpected("services");
    };
    Ok(services)
}
