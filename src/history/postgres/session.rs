//! An open connection.

use std::task::{Context, Waker};

use bytes::BytesMut;
use js_sys::{Promise, Uint8Array};
use postgres_protocol::message::frontend;
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use web_sys::{ReadableStream, WritableStream, WritableStreamDefaultWriter};
use worker::Hyperdrive;

use super::{
    Error, Param, Row,
    incoming::Incoming,
    login::Login,
    statement::{self, Answer},
};
use crate::js::{ByteReader, describe, ignore};

#[wasm_bindgen]
extern "C" {
    // `worker::Socket` takes a reader or writer of its stream, and gives it back, each time that it is polled.
    type Binding;

    #[wasm_bindgen(method, catch)]
    fn connect(this: &Binding) -> Result<Socket, JsValue>;

    type Socket;

    #[wasm_bindgen(method, getter, catch)]
    fn readable(this: &Socket) -> Result<ReadableStream, JsValue>;

    #[wasm_bindgen(method, getter, catch)]
    fn writable(this: &Socket) -> Result<WritableStream, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn close(this: &Socket) -> Result<Promise, JsValue>;
}

/// Room for what one read may bring.
const READ_BYTES: u32 = 4096;
/// The same for a read that waits as long as a reply takes, and then brings the answer to a statement without much to say.
const IDLE_READ_BYTES: u32 = 512;

/// A connection to PostgreSQL for one statement after the other. Dropped between two of them, it ends in peace; dropped
/// while an answer is due, it is given up at once.
pub struct Session {
    socket: Socket,
    writer: WritableStreamDefaultWriter,
    reader: ByteReader,
    incoming: Incoming,
    is_idle: bool,
}

impl Session {
    /// Opens a connection and logs in.
    pub async fn connect(hyperdrive: &Hyperdrive) -> Result<Self, Error> {
        let mut session = Self::open(hyperdrive).map_err(broken)?;
        let (user, password, database) = (hyperdrive.user(), hyperdrive.password(), hyperdrive.database());
        let mut out = BytesMut::new();
        let mut login = Login::start(&user, &password, &database, &mut out)?;
        loop {
            session.send(&mut out);
            session.read().await?;
            while let Some(message) = session.incoming.next()? {
                if login.take(message, &mut out)? {
                    return Ok(session);
                }
            }
        }
    }

    fn open(hyperdrive: &Hyperdrive) -> Result<Self, JsValue> {
        let binding: &JsValue = hyperdrive.as_ref();
        let socket = binding.unchecked_ref::<Binding>().connect()?;
        let writer = socket.writable()?.get_writer()?;
        ignore(&writer.closed());
        let reader = ByteReader::new(&socket.readable()?)?;
        Ok(Self { socket, writer, reader, incoming: Incoming::default(), is_idle: false })
    }

    /// Runs a statement and returns its first row, if it gave one. After an error the session is of no more use.
    pub async fn query(&mut self, statement: &str, params: &[Param<'_>]) -> Result<Option<Row>, Error> {
        let mut out = BytesMut::new();
        statement::write(statement, params, &mut out)?;
        self.is_idle = false;
        self.send(&mut out);
        let mut answer = Answer::default();
        loop {
            self.read().await?;
            while let Some(message) = self.incoming.next()? {
                if answer.take(message)? {
                    self.is_idle = true;
                    // Started now, the next read shows whether the connection breaks in the meantime.
                    self.is_silent();
                    return Ok(answer.into_row());
                }
            }
        }
    }

    /// The session, unless something came while nobody waited: the end of the connection, or what leads to it.
    pub fn if_alive(mut self) -> Option<Self> {
        self.is_idle = self.is_silent();
        self.is_idle.then_some(self)
    }

    fn is_silent(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        self.reader.poll_read(&mut context, self.incoming.buffer(), 1..=IDLE_READ_BYTES).is_pending()
    }

    /// Sends what there is, if anything, without waiting until it is taken: if it is not, there will be no answer.
    fn send(&self, out: &mut BytesMut) {
        if !out.is_empty() {
            ignore(&self.writer.write_with_chunk(&Uint8Array::from(&out[..])));
            out.clear();
        }
    }

    async fn read(&mut self) -> Result<(), Error> {
        if self.reader.read(self.incoming.buffer(), 1..=READ_BYTES).await.map_err(broken)? {
            Ok(())
        } else {
            Err(Error::Ended)
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.is_idle {
            let mut out = BytesMut::new();
            frontend::terminate(&mut out);
            self.send(&mut out);
            ignore(&self.writer.close());
        } else if let Ok(closed) = self.socket.close() {
            ignore(&closed);
        }
    }
}

fn broken(error: JsValue) -> Error {
    Error::Broken(describe(&error))
}
