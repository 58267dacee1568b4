//! WASI for a guest's standard library, answered from nothing: no environment, no arguments, no
//! input; output becomes debug lines of the run; leaving by `exit` is a trap.
//!
//! A panic's message arrives here as standard error before the trap, which is how an author reads it.

use super::bindings::wasi::wasi::{cli, io, random};
use super::guest::Guest;
use cli::{environment, exit, stderr, stdin, stdout, terminal_input, terminal_output};
use cli::{terminal_stderr, terminal_stdin, terminal_stdout};
use io::streams::{InputStream, OutputStream, StreamError};
use io::{error, poll, streams};
use random::insecure_seed;
use wasmtime::Result;
use wasmtime::component::{HasSelf, Linker, Resource};

/// Number of every resource here: none of them has a state.
const STATELESS: u32 = 0;

/// Bytes that one write may carry; what is written is cut to lines anyway.
const WRITE_BYTES: u64 = 4_096;

/// A hash map's order is then the same in every run, and a replay sees what the run saw.
const SEED: (u64, u64) = (0, 0);

/// Links what a guest's standard library imports.
pub(super) fn link(linker: &mut Linker<Guest>) -> Result<()> {
    environment::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    exit::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    stdin::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    stdout::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    stderr::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    terminal_input::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    terminal_output::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    terminal_stdin::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    terminal_stdout::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    terminal_stderr::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    error::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    poll::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    streams::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    insecure_seed::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)
}

impl environment::Host for Guest {
    fn get_environment(&mut self) -> Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    fn get_arguments(&mut self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn initial_cwd(&mut self) -> Result<Option<String>> {
        Ok(None)
    }
}

impl exit::Host for Guest {
    fn exit(&mut self, _status: std::result::Result<(), ()>) -> Result<()> {
        Err(wasmtime::Error::msg("the playbook called exit"))
    }
}

impl stdin::Host for Guest {
    fn get_stdin(&mut self) -> Result<Resource<InputStream>> {
        Ok(Resource::new_own(STATELESS))
    }
}

impl stdout::Host for Guest {
    fn get_stdout(&mut self) -> Result<Resource<OutputStream>> {
        Ok(Resource::new_own(STATELESS))
    }
}

impl stderr::Host for Guest {
    fn get_stderr(&mut self) -> Result<Resource<OutputStream>> {
        Ok(Resource::new_own(STATELESS))
    }
}

impl terminal_input::Host for Guest {}

impl terminal_input::HostTerminalInput for Guest {
    fn drop(&mut self, _terminal: Resource<terminal_input::TerminalInput>) -> Result<()> {
        Ok(())
    }
}

impl terminal_output::Host for Guest {}

impl terminal_output::HostTerminalOutput for Guest {
    fn drop(&mut self, _terminal: Resource<terminal_output::TerminalOutput>) -> Result<()> {
        Ok(())
    }
}

impl terminal_stdin::Host for Guest {
    fn get_terminal_stdin(&mut self) -> Result<Option<Resource<terminal_input::TerminalInput>>> {
        Ok(None)
    }
}

impl terminal_stdout::Host for Guest {
    fn get_terminal_stdout(&mut self) -> Result<Option<Resource<terminal_output::TerminalOutput>>> {
        Ok(None)
    }
}

impl terminal_stderr::Host for Guest {
    fn get_terminal_stderr(&mut self) -> Result<Option<Resource<terminal_output::TerminalOutput>>> {
        Ok(None)
    }
}

impl error::Host for Guest {}

impl error::HostError for Guest {
    fn drop(&mut self, _error: Resource<error::Error>) -> Result<()> {
        Ok(())
    }
}

impl poll::Host for Guest {}

impl poll::HostPollable for Guest {
    fn block(&mut self, _pollable: Resource<poll::Pollable>) -> Result<()> {
        Ok(())
    }

    fn drop(&mut self, _pollable: Resource<poll::Pollable>) -> Result<()> {
        Ok(())
    }
}

impl streams::Host for Guest {}

impl streams::HostInputStream for Guest {
    fn read(
        &mut self,
        _stream: Resource<InputStream>,
        _length: u64,
    ) -> Result<std::result::Result<Vec<u8>, StreamError>> {
        Ok(Err(StreamError::Closed))
    }

    fn blocking_read(
        &mut self,
        _stream: Resource<InputStream>,
        _length: u64,
    ) -> Result<std::result::Result<Vec<u8>, StreamError>> {
        Ok(Err(StreamError::Closed))
    }

    fn drop(&mut self, _stream: Resource<InputStream>) -> Result<()> {
        Ok(())
    }
}

impl streams::HostOutputStream for Guest {
    fn check_write(&mut self, _stream: Resource<OutputStream>) -> Result<std::result::Result<u64, StreamError>> {
        Ok(Ok(WRITE_BYTES))
    }

    fn write(
        &mut self,
        _stream: Resource<OutputStream>,
        contents: Vec<u8>,
    ) -> Result<std::result::Result<(), StreamError>> {
        Guest::write(self, &contents).map(Ok)
    }

    fn blocking_write_and_flush(
        &mut self,
        _stream: Resource<OutputStream>,
        contents: Vec<u8>,
    ) -> Result<std::result::Result<(), StreamError>> {
        Guest::write(self, &contents).map(Ok)
    }

    fn flush(&mut self, _stream: Resource<OutputStream>) -> Result<std::result::Result<(), StreamError>> {
        Ok(Ok(()))
    }

    fn blocking_flush(&mut self, _stream: Resource<OutputStream>) -> Result<std::result::Result<(), StreamError>> {
        Ok(Ok(()))
    }

    fn subscribe(&mut self, _stream: Resource<OutputStream>) -> Result<Resource<poll::Pollable>> {
        Ok(Resource::new_own(STATELESS))
    }

    fn drop(&mut self, _stream: Resource<OutputStream>) -> Result<()> {
        Ok(())
    }
}

impl insecure_seed::Host for Guest {
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok(SEED)
    }
}
