//! Frames on the socket.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};

/// No frame is larger. The largest message is an order, which is bounded by what the system takes as arguments
/// and environment: 2 MiB, at worst six times as much as JSON.
const FRAME_BYTES_MAX: usize = 64 << 20;

/// A frame that has reached this length takes no further message.
pub(crate) const FRAME_GOAL_BYTES: usize = 1 << 20;

/// Appends one frame with the first of these messages; how many there was room for, at least one.
pub(crate) fn encode<T: Serialize>(messages: &[T], into: &mut Vec<u8>) -> usize {
    let start = into.len();
    into.extend_from_slice(&[0; 4]);
    let mut count = 0;
    for message in messages {
        into.push(if count == 0 { b'[' } else { b',' });
        serde_json::to_writer(&mut *into, message).expect("messages have text keys only");
        count += 1;
        if into.len() - start >= FRAME_GOAL_BYTES {
            break;
        }
    }
    if count == 0 {
        into.push(b'[');
    }
    into.push(b']');
    let length = u32::try_from(into.len() - start - 4).expect("messages are far smaller");
    into[start..start + 4].copy_from_slice(&length.to_le_bytes());
    count
}

/// Reads one frame; `None` at the end of the stream, also when it ends within a frame.
pub(crate) async fn decode<T, R>(
    stream: &mut R,
    buffer: &mut Vec<u8>,
) -> std::io::Result<Option<Vec<T>>>
where
    T: DeserializeOwned,
    R: AsyncRead + Unpin,
{
    loop {
        if let Some((head, rest)) = buffer.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*head) as usize;
            if length > FRAME_BYTES_MAX {
                return Err(invalid(format!("a frame of {length} bytes")));
            }
            if let Some(body) = rest.get(..length) {
                let messages =
                    serde_json::from_slice(body).map_err(|it| invalid(it.to_string()))?;
                buffer.drain(..4 + length);
                return Ok(Some(messages));
            }
            buffer.reserve(4 + length - rest.len());
        }
        // One large frame must not pin its memory for the life of the connection.
        if buffer.is_empty() && buffer.capacity() > FRAME_GOAL_BYTES {
            buffer.shrink_to(8 << 10);
        }
        buffer.reserve(8 << 10);
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn invalid(message: String) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_read_back_however_they_are_cut() {
        let mut bytes = Vec::new();
        assert_eq!(encode(&["a", "b"], &mut bytes), 2);
        assert_eq!(encode::<String>(&[], &mut bytes), 0);
        assert_eq!(encode(&["c".repeat(20_000)], &mut bytes), 1);
        for cut in [1, 3, 4, 5, 11, 20, bytes.len()] {
            let (first, second) = bytes.split_at(cut);
            let mut stream = first.chain(second);
            let mut buffer = Vec::new();
            let mut lengths = Vec::new();
            while let Some(list) = decode::<String, _>(&mut stream, &mut buffer)
                .await
                .expect("valid")
            {
                lengths.push(list.len());
            }
            assert_eq!(lengths, [2, 0, 1]);
        }
    }

    #[tokio::test]
    async fn a_frame_takes_no_more_messages_once_it_is_large() {
        let messages = vec!["x".repeat(FRAME_GOAL_BYTES / 4); 10];
        let mut bytes = Vec::new();
        let mut rest = &messages[..];
        while !rest.is_empty() {
            rest = &rest[encode(rest, &mut bytes)..];
        }
        let mut stream = &bytes[..];
        let mut buffer = Vec::new();
        let mut lengths = Vec::new();
        while let Some(list) = decode::<String, _>(&mut stream, &mut buffer)
            .await
            .expect("valid")
        {
            lengths.push(list.len());
        }
        assert_eq!(lengths, [4, 4, 2]);
    }

    #[tokio::test]
    async fn a_frame_of_absurd_length_is_refused() {
        let mut stream: &[u8] = &[0xff; 8];
        let error = decode::<String, _>(&mut stream, &mut Vec::new())
            .await
            .expect_err("too long");
        assert_eq!(error.to_string(), "a frame of 4294967295 bytes");
    }
}
