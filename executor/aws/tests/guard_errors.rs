//! What real bytes on a real socket mean: every answer, and every lack of one, becomes the right kind of error with words
//! that help.

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_batch::config::Credentials;
use dalsegno_executor_aws::AwsConfig;
use dalsegno_executor_aws::guard::{Api, CallError, Guard};
use dalsegno_store::MemoryStore;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What the server does with every connection.
#[derive(Clone)]
enum Does {
    Says(String),
    /// After it has read the request.
    Resets,
    Nothing,
}

/// The address of a server that does that until the test ends.
async fn server(does: Does) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let does = does.clone();
            tokio::spawn(async move {
                let mut request = [0; 65_536];
                let _ = connection.read(&mut request).await;
                match does {
                    Does::Says(bytes) => {
                        let _ = connection.write_all(bytes.as_bytes()).await;
                        let _ = connection.shutdown().await;
                    }
                    // Closed with something unread, a socket is reset.
                    Does::Resets => drop(connection),
                    Does::Nothing => std::future::pending().await,
                }
            });
        }
    });
    format!("http://{address}")
}

fn says(status: &str, headers: &str, body: &str) -> Does {
    Does::Says(format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    ))
}

fn refuses(status: &str, code: &str, message: &str) -> Does {
    let headers = format!("x-amzn-errortype: {code}\r\n");
    says(status, &headers, &format!("{{\"message\":\"{message}\"}}"))
}

/// One DescribeJobs, asked of that address.
async fn ask(endpoint: &str) -> CallError {
    let timeouts = TimeoutConfig::builder()
        .read_timeout(Duration::from_millis(300))
        .connect_timeout(Duration::from_secs(5));
    let sdk = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("t", "t", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts.build())
        .load()
        .await;
    let batch = aws_sdk_batch::Client::new(&sdk);
    let call = batch.describe_jobs().jobs("1").send();
    let asked = guard(endpoint).call(Api::DescribeJobs, call).await;
    asked.expect_err("an error")
}

async fn answer(does: Does) -> CallError {
    ask(&server(does).await).await
}

#[tokio::test]
async fn throttling_is_told_with_the_pause_that_the_service_asks_for() {
    let body = "{\"message\":\"Rate exceeded\"}";
    for (headers, seconds) in [
        (
            "x-amzn-errortype: TooManyRequestsException\r\nretry-after: 7\r\n",
            Some(7),
        ),
        (
            "x-amzn-errortype: ThrottlingException\r\nx-amz-retry-after: 2000\r\n",
            Some(2),
        ),
        ("x-amzn-errortype: ThrottlingException\r\n", None),
    ] {
        let error = answer(says("429 Too Many Requests", headers, body)).await;
        let expected = CallError::Throttled {
            message: "Rate exceeded".to_owned(),
            retry_after: seconds.map(Duration::from_secs),
        };
        assert_eq!(error, expected);
    }
    // By whatever stands between.
    let error = answer(says("429 Too Many Requests", "", "")).await;
    assert!(matches!(error, CallError::Throttled { .. }), "{error:?}");
}

#[tokio::test]
async fn a_pause_until_a_date_is_understood() {
    let headers = "retry-after: Fri, 31 Dec 2100 23:59:59 GMT\r\n";
    let error = answer(says("429 Too Many Requests", headers, "{}")).await;
    let CallError::Throttled {
        retry_after: Some(wait),
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert!(wait > Duration::from_secs(86_400));
}

#[tokio::test]
async fn errors_of_the_service_and_of_the_way_to_it_leave_the_outcome_unknown() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"jobs\":";
    for (does, words) in [
        (
            refuses("500 Internal Server Error", "ServerException", "it broke"),
            "it broke",
        ),
        (says("503 Service Unavailable", "", ""), "HTTP 503"),
        (says("200 OK", "", "{\"jobs\": }"), "none of the service's"),
        (
            says("418 I'm a teapot", "", "<html></html>"),
            "none of the service's (HTTP 418)",
        ),
        (Does::Says(cut.to_owned()), "http://127.0.0.1"),
        (Does::Resets, "http://127.0.0.1"),
        (Does::Nothing, "no answer in time"),
    ] {
        let error = answer(does).await;
        assert!(matches!(error, CallError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_house_that_is_not_there_is_named() {
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = gone.local_addr().expect("an address");
    drop(gone);
    let error = ask(&format!("http://{address}")).await;
    assert!(matches!(error, CallError::Unreachable { .. }), "{error:?}");
    let text = error.to_string();
    assert_eq!(text, format!("http://{address}: it refuses connections"));

    let error = ask("http://batch.no-such-region.invalid").await;
    assert!(matches!(error, CallError::Unreachable { .. }), "{error:?}");
    assert!(
        error.to_string().contains("batch.no-such-region.invalid"),
        "{error}"
    );
}

#[tokio::test]
async fn who_may_not_is_told_what_to_do_about_it() {
    for (status, code, words) in [
        (
            "403 Forbidden",
            "AccessDeniedException",
            "the daemon's role lacks the permission",
        ),
        (
            "403 Forbidden",
            "ExpiredTokenException",
            "have expired: renew them",
        ),
        (
            "403 Forbidden",
            "UnrecognizedClientException",
            "not known to AWS",
        ),
        (
            "403 Forbidden",
            "RequestTimeTooSkewed",
            "the clock of the daemon's machine",
        ),
        (
            "403 Forbidden",
            "SignatureDoesNotMatch",
            "or the clock of the daemon's machine is",
        ),
        (
            "400 Bad Request",
            "InvalidSignatureException",
            "or the clock of the daemon's machine is",
        ),
        ("403 Forbidden", "SomethingNew", "no."),
    ] {
        let error = answer(refuses(status, code, "no.")).await;
        assert!(matches!(error, CallError::Denied { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn a_request_that_cannot_work_is_no_fault_of_the_service() {
    let wrong = refuses(
        "400 Bad Request",
        "ClientException",
        "JobQueue other not found",
    );
    let error = answer(wrong).await;
    assert_eq!(
        error.to_string(),
        "ClientException: JobQueue other not found"
    );
    assert!(matches!(error, CallError::Invalid { .. }), "{error:?}");

    let role = "not authorized to perform: iam:PassRole on resource x";
    let error = answer(refuses("403 Forbidden", "AccessDeniedException", role)).await;
    assert!(matches!(error, CallError::Invalid { .. }), "{error:?}");
}

#[tokio::test]
async fn without_credentials_it_says_where_they_come_from() {
    let address = server(says("200 OK", "", "{}")).await;
    let sdk = aws_config::SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .endpoint_url(&address)
        .credentials_provider(aws_sdk_batch::config::SharedCredentialsProvider::new(
            aws_config::profile::ProfileFileCredentialsProvider::builder()
                .profile_name("nobody-has-this")
                .build(),
        ))
        .build();
    let call = aws_sdk_batch::Client::new(&sdk)
        .describe_jobs()
        .jobs("1")
        .send();
    let error = guard(&address).call(Api::DescribeJobs, call).await;
    let error = error.expect_err("no credentials");
    assert!(matches!(error, CallError::Denied { .. }), "{error:?}");
    assert!(
        error.to_string().contains("finds no AWS credentials"),
        "{error}"
    );
}

fn guard(endpoint: &str) -> Guard {
    let config = AwsConfig {
        installation: "abcd1234".to_owned(),
        instance: "one".to_owned(),
        region: Some("eu-west-1".to_owned()),
        endpoint: Some(endpoint.to_owned()),
        ..AwsConfig::default()
    };
    Guard::new(&config, Arc::new(MemoryStore::new()))
}
