//! What comes in: answers, errors, and the end of a job.

// The codes of header fields.
pub(super) const PATH: u8 = 1;
pub(super) const INTERFACE: u8 = 2;
pub(super) const MEMBER: u8 = 3;
pub(super) const ERROR_NAME: u8 = 4;
pub(super) const REPLY_SERIAL: u8 = 5;
pub(super) const DESTINATION_FIELD: u8 = 6;
pub(super) const SIGNATURE: u8 = 8;

/// What comes in.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// The answer to the call with this number, and its first text if it has one (the path of a job).
    Answer(u32, String),
    /// The same for an error: its name and its text.
    Error(u32, String, String),
    /// A job is over: the job, and its result.
    JobRemoved(String, String),
    /// Anything else.
    Other,
}

/// How long the message is that begins here, once enough of it is there to tell.
pub fn message_length(bytes: &[u8]) -> Option<usize> {
    let header = bytes.get(..16)?;
    let mut reader = Reader { bytes: header, at: 4, big: header[0] == b'B' };
    let body = reader.u32()? as usize;
    let _serial = reader.u32()?;
    let fields = reader.u32()? as usize;
    Some((16_usize.saturating_add(fields)).next_multiple_of(8).saturating_add(body))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big: bool,
}

impl<'a> Reader<'a> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let part = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(part)
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4);
        let bytes = self.take(4)?.try_into().ok()?;
        Some(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Some(text)
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(*self.take(1)?.first()?);
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Some(text)
    }
}

/// A whole message.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let mut reader = Reader { bytes, at: 12, big: *bytes.first()? == b'B' };
    let end = 16 + reader.u32()? as usize;
    let (mut member, mut error, mut signature, mut answers) = Default::default();
    while reader.at < end {
        reader.align(8);
        let code = *reader.take(1)?.first()?;
        match (code, reader.signature()?.as_str()) {
            (MEMBER, "s") => member = reader.text()?,
            (ERROR_NAME, "s") => error = reader.text()?,
            (REPLY_SERIAL, "u") => answers = reader.u32()?,
            (SIGNATURE, "g") => signature = reader.signature()?,
            (_, "s" | "o") => drop(reader.text()?),
            (_, "u") => drop(reader.u32()?),
            (_, "g") => drop(reader.signature()?),
            _ => return None,
        }
    }
    reader.at = end;
    reader.align(8);
    let has_text = str::starts_with(&signature, ['s', 'o']);
    Some(match bytes[1] {
        2 => Message::Answer(answers, if has_text { reader.text()? } else { String::new() }),
        3 => Message::Error(answers, error, if has_text { reader.text()? } else { String::new() }),
        4 if member == "JobRemoved" && signature == "uoss" => {
            let _number = reader.u32()?;
            let (job, _unit, result) = (reader.text()?, reader.text()?, reader.text()?);
            Message::JobRemoved(job, result)
        }
        _ => Message::Other,
    })
}
