//! What a connection does with a server that does as it is told here.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use prost::Message;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::Code;
use tonic::body::Body;
use tower_service::Service;

use crate::v1::{
    AppendMessagesRequest, DownloadImageRequest, DownloadImageResponse, GetEmbeddingModelRequest, GetModelRequest,
    ListModelsRequest,
};
use crate::{Connection, connect};

const APPEND: &str = "/stepwire.v1.ConversationService/AppendMessages";
/// Only a test that fails waits for so long.
const HANG: Duration = Duration::from_secs(30);

/// The last part of each path, and the body.
type Calls = Arc<Mutex<Vec<(String, Bytes)>>>;

/// A server of one connection, which fails all that is appended, sends pictures without end, and has no models.
struct Server {
    connection: Connection,
    calls: Calls,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connection = connect(&listener.local_addr().unwrap().to_string()).unwrap();
        let calls = Calls::default();
        let notes = Arc::clone(&calls);
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let mut http = h2::server::handshake(socket).await.unwrap();
            while let Some(Ok((request, respond))) = http.accept().await {
                tokio::spawn(answer(request, respond, Arc::clone(&notes)));
            }
        });
        Self { connection, calls }
    }

    fn count(&self, method: &str) -> usize {
        self.calls
            .lock()
            .unwrap()
            .iter()
            .filter(|(called, _)| called == method)
            .count()
    }

    async fn append(&self) -> Code {
        let mut conversations = self.connection.conversations();
        let answer = conversations.append_messages(AppendMessagesRequest::default());
        timeout(HANG, answer).await.unwrap().unwrap_err().code()
    }
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, calls: Calls) {
    let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
    let mut body = request.into_body();
    let mut came = BytesMut::new();
    while let Some(piece) = body.data().await {
        came.put(piece.unwrap());
    }
    calls.lock().unwrap().push((method.clone(), came.freeze()));
    let response = Response::builder().header("content-type", "application/grpc");
    match method.as_str() {
        "AppendMessages" => {
            let failed = response
                .header("grpc-status", "14")
                .header("grpc-retry-pushback-ms", "0");
            respond.send_response(failed.body(()).unwrap(), true).unwrap();
        }
        "GetEmbeddingModel" => {
            let proxied = Response::builder().status(503).header("grpc-retry-pushback-ms", "0");
            respond.send_response(proxied.body(()).unwrap(), true).unwrap();
        }
        "DownloadImage" => {
            let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
            let picture = frame(
                0,
                &DownloadImageResponse {
                    chunk: vec![0; 1024],
                    ..Default::default()
                },
            );
            for _ in 0..3 * 1024 {
                stream.send_data(picture.clone(), false).unwrap();
            }
            pending::<()>().await; // the end of `stream` would end the call
        }
        _ => {
            let mut stream = respond.send_response(response.body(()).unwrap(), false).unwrap();
            stream.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
            let status = if method == "ListModels" { "0" } else { "8" };
            let trailers = [("grpc-status".parse().unwrap(), status.parse().unwrap())];
            stream.send_trailers(HeaderMap::from_iter(trailers)).unwrap();
        }
    }
}

fn frame(flag: u8, message: &impl Message) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(flag);
    frame.put_u32(u32::try_from(message.encoded_len()).unwrap());
    frame.put_slice(&message.encode_to_vec());
    frame.freeze()
}

#[tokio::test]
async fn all_attempts_of_a_call_have_one_id() {
    let server = Server::start().await;
    assert_eq!(server.append().await, Code::Unavailable);
    let appended: Vec<_> = (server.calls.lock().unwrap().iter())
        .map(|(_, body)| AppendMessagesRequest::decode(&body[5..]).unwrap())
        .collect();
    assert_eq!(appended.len(), 4);
    assert_eq!(appended[0].request_id.len(), 32);
    assert!(appended.iter().all(|request| *request == appended[0]));
}

#[tokio::test]
async fn a_call_that_can_have_no_id_is_made_once() {
    let mut server = Server::start().await;
    let compressed = frame(1, &AppendMessagesRequest::default());
    let url = format!("http://server{APPEND}");
    let request = Request::post(url).body(Body::new(Full::new(compressed))).unwrap();
    let answer = timeout(HANG, server.connection.call(request)).await.unwrap().unwrap();
    assert_eq!(answer.headers()["grpc-status"], "14");
    assert_eq!(server.count("AppendMessages"), 1);
}

#[tokio::test]
async fn streams_that_nobody_reads_keep_up_no_other_call() {
    let server = Server::start().await;
    let calls = async {
        let mut unread = Vec::new();
        for _ in 0..24 {
            let call = server
                .connection
                .conversations()
                .download_image(DownloadImageRequest::default())
                .await;
            let mut stream = call.unwrap().into_inner();
            stream.message().await.unwrap();
            unread.push(stream);
        }
        server
            .connection
            .chat()
            .list_models(ListModelsRequest::default())
            .await
            .unwrap();
    };
    timeout(HANG, calls).await.unwrap();
}

#[tokio::test]
async fn only_calls_that_end_well_bring_repeats_back() {
    let server = Server::start().await;
    for made in [4, 5] {
        server.append().await;
        assert_eq!(server.count("AppendMessages"), made);
    }
    for _ in 0..25 {
        let mut chat = server.connection.chat();
        let failed = timeout(HANG, chat.get_model(GetModelRequest::default())).await.unwrap();
        assert_eq!(failed.unwrap_err().code(), Code::ResourceExhausted);
    }
    server.append().await;
    assert_eq!(server.count("AppendMessages"), 6);
    for _ in 0..35 {
        let mut chat = server.connection.chat();
        timeout(HANG, chat.list_models(ListModelsRequest::default()))
            .await
            .unwrap()
            .unwrap();
    }
    server.append().await;
    assert_eq!(server.count("AppendMessages"), 9);
}

#[tokio::test]
async fn a_proxy_that_finds_no_server_is_asked_again() {
    let server = Server::start().await;
    let mut embed = server.connection.embed();
    let answer = timeout(HANG, embed.get_embedding_model(GetEmbeddingModelRequest::default()));
    assert_eq!(answer.await.unwrap().unwrap_err().code(), Code::Unavailable);
    assert_eq!(server.count("GetEmbeddingModel"), 4);
}

#[tokio::test]
async fn an_address_that_would_be_spoken_to_otherwise_than_it_says_is_none() {
    for address in ["127.0.0.1:1", "localhost:1", "http://127.0.0.1:1", "HTTP://[::1]:1/"] {
        assert!(connect(address).is_ok(), "{address}");
    }
    for address in [
        "https://127.0.0.1:1",
        "grpc://127.0.0.1:1",
        "unix:///run/it",
        "dns:///it:1",
    ] {
        let error = connect(address).unwrap_err().to_string();
        let scheme = address.split(':').next().unwrap();
        assert!(error.contains(&format!("`{scheme}`")), "{error}");
    }
    for address in ["", "http://", "unix:/run/it", "127.0.0.1:1/path", "a b"] {
        assert!(connect(address).is_err(), "{address}");
    }
}
