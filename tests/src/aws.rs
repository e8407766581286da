//! Buckets, queues, topics and rules of the AWS emulator, as a person with the console would make them.

use crate::patience::eventually;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};

/// The emulator that `cargo xtask test` starts. Many tests share it, so each makes things with names of its own.
pub struct Aws {
    url: String,
    agent: ureq::Agent,
}

/// A queue.
#[derive(Clone, Debug)]
pub struct Queue {
    pub name: String,
    pub url: String,
    pub arn: String,
}

pub(crate) const REGION: &str = "us-east-1";
const ACCOUNT: &str = "123456789012";

impl Aws {
    /// # Panics
    /// When there is no emulator.
    pub fn emulator() -> Self {
        let url = std::env::var("DALSEGNO_TEST_AWS_URL").expect(
            "DALSEGNO_TEST_AWS_URL names an emulator of AWS; run `cargo xtask test`, which starts one",
        );
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build();
        Self {
            url,
            agent: agent.into(),
        }
    }

    /// A name that nobody else has.
    pub fn name(&self, what: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        format!("{what}-{}-{number}", std::process::id())
    }

    /// What a process needs to speak to it.
    pub fn variables() -> [(&'static str, &'static str); 4] {
        [
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", REGION),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
    }

    pub fn bucket(&self) -> String {
        let name = self.name("arrivals");
        self.s3(&name, "");
        name
    }

    /// Writes an object; its key as it stands in a URL.
    pub fn put(&self, bucket: &str, key: &str) {
        self.s3(&format!("{bucket}/{key}"), "contents");
    }

    /// Where a bucket tells of new objects: `QueueConfiguration`, `TopicConfiguration` or `EventBridgeConfiguration`.
    pub fn notify(&self, bucket: &str, inner: &str) {
        let xml = format!("<NotificationConfiguration>{inner}</NotificationConfiguration>");
        self.s3(&format!("{bucket}?notification"), &xml);
    }

    /// A bucket that tells this queue.
    pub fn bucket_for(&self, queue: &Queue) -> String {
        let bucket = self.bucket();
        let inner = format!(
            "<QueueConfiguration><Id>n</Id><Queue>{}</Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration>",
            queue.arn
        );
        self.notify(&bucket, &inner);
        bucket
    }

    /// A queue whose messages stay hidden for two seconds.
    pub fn queue(&self) -> Queue {
        self.queue_with(&self.name("queue"), &json!({}))
    }

    pub fn queue_with(&self, name: &str, more: &Value) -> Queue {
        let mut attributes = json!({ "VisibilityTimeout": "2" });
        for (key, value) in more.as_object().into_iter().flatten() {
            attributes[key] = value.clone();
        }
        let made = self.sqs(
            "CreateQueue",
            &json!({ "QueueName": name, "Attributes": attributes }),
        );
        let path = made["QueueUrl"].as_str().expect("a queue has a URL");
        let path = path.splitn(4, '/').nth(3).expect("with a path");
        Queue {
            url: format!("{}/{path}", self.url),
            arn: format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"),
            name: name.to_owned(),
        }
    }

    pub fn delete_queue(&self, queue: &Queue) {
        self.sqs("DeleteQueue", &json!({ "QueueUrl": queue.url }));
    }

    pub fn send(&self, queue: &Queue, body: &str) {
        self.sqs(
            "SendMessage",
            &json!({ "QueueUrl": queue.url, "MessageBody": body }),
        );
    }

    /// Waits for a message and gives it; it stays in the queue.
    #[track_caller]
    pub fn message(&self, queue: &Queue) -> Value {
        let ask = json!({ "QueueUrl": queue.url, "MessageAttributeNames": ["All"] });
        eventually("a message", || {
            let answer = self.sqs("ReceiveMessage", &ask);
            answer["Messages"].get(0).cloned()
        })
    }

    /// Messages in the queue, hidden ones too.
    pub fn count(&self, queue: &Queue) -> u64 {
        let answer = self.sqs(
            "GetQueueAttributes",
            &json!({ "QueueUrl": queue.url, "AttributeNames": ["All"] }),
        );
        let of = |name: &str| answer["Attributes"][name].as_str()?.parse::<u64>().ok();
        of("ApproximateNumberOfMessages").unwrap_or(0)
            + of("ApproximateNumberOfMessagesNotVisible").unwrap_or(0)
    }

    /// Waits until nothing is in the queue.
    #[track_caller]
    pub fn is_empty_soon(&self, queue: &Queue) {
        eventually("an empty queue", || (self.count(queue) == 0).then_some(()));
    }

    /// A topic that sends to the queue; `raw` without its envelope.
    pub fn topic_to(&self, queue: &Queue, raw: bool) -> String {
        let name = self.name("topic");
        self.sns(&format!("Action=CreateTopic&Name={name}"));
        let topic = format!("arn:aws:sns:{REGION}:{ACCOUNT}:{name}");
        self.sns(&format!(
            "Action=Subscribe&TopicArn={topic}&Protocol=sqs&Endpoint={}&Attributes.entry.1.key=RawMessageDelivery&\
             Attributes.entry.1.value={raw}",
            queue.arn
        ));
        topic
    }

    /// A table of DynamoDB whose items are found by `pathspec`, as Metaflow's state machines want it.
    #[track_caller]
    pub fn table(&self, what: &str) -> String {
        let name = self.name(what);
        self.json(
            "dynamodb",
            "DynamoDB_20120810.CreateTable",
            &json!({
                "TableName": name, "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [{ "AttributeName": "pathspec", "AttributeType": "S" }],
                "KeySchema": [{ "AttributeName": "pathspec", "KeyType": "HASH" }],
            }),
        );
        name
    }

    /// Names of the rules of EventBridge that begin so.
    #[track_caller]
    pub fn rules(&self, prefix: &str) -> Vec<String> {
        let found = self.json(
            "events",
            "AWSEvents.ListRules",
            &json!({ "NamePrefix": prefix }),
        );
        let rules = found["Rules"].as_array().cloned().unwrap_or_default();
        let name = |it: &Value| it["Name"].as_str().unwrap_or_default().to_owned();
        rules.iter().map(name).collect()
    }

    /// A rule of EventBridge that sends what matches to the queue.
    pub fn rule_to(&self, queue: &Queue, pattern: &Value) {
        let name = self.name("rule");
        self.json(
            "events",
            "AWSEvents.PutRule",
            &json!({ "Name": name, "EventPattern": pattern.to_string() }),
        );
        let targets = json!([{ "Id": "queue", "Arn": queue.arn }]);
        self.json(
            "events",
            "AWSEvents.PutTargets",
            &json!({ "Rule": name, "Targets": targets }),
        );
    }

    pub fn put_event(&self, source: &str, kind: &str, detail: &Value) {
        let entry = json!({ "Source": source, "DetailType": kind, "Detail": detail.to_string() });
        self.json(
            "events",
            "AWSEvents.PutEvents",
            &json!({ "Entries": [entry] }),
        );
    }

    /// From now on requests with this part in their body go wrong; see `tests/emulator/aws.py`.
    pub fn fault(&self, rule: &Value) {
        let sent = self
            .agent
            .post(format!("{}/_fault", self.url))
            .send(rule.to_string());
        assert_eq!(sent.expect("the emulator answers").status(), 200);
    }

    /// Such requests are answered again.
    pub fn no_faults(&self, with: &str) {
        let url = format!("{}/_fault?with={with}", self.url);
        let sent = self.agent.delete(url).call();
        assert_eq!(sent.expect("the emulator answers").status(), 200);
    }

    /// How often such an operation was asked for.
    pub fn seen(&self, op: &str, with: &str) -> usize {
        let answer = self.agent.get(format!("{}/_fault", self.url)).call();
        let text = answer
            .expect("the emulator answers")
            .body_mut()
            .read_to_string()
            .expect("text");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        let seen = answer["seen"].as_array().expect("a list");
        let is_it = |it: &&Value| it[0] == op && it[1].as_str().is_some_and(|it| it.contains(with));
        seen.iter().filter(is_it).count()
    }

    /// Writing the same once more changes nothing, so a server's error is no end.
    fn s3(&self, path: &str, body: &str) {
        eventually(&format!("an answer to PUT {path}"), || {
            let sent = self.agent.put(format!("{}/{path}", self.url)).send(body);
            let status = sent.expect("the emulator answers").status();
            assert!(
                status == 200 || status.is_server_error(),
                "PUT {path}: {status}"
            );
            (status == 200).then_some(())
        });
    }

    fn sns(&self, form: &str) {
        self.form("sns", form);
    }

    /// Calls one of the services that are spoken to in forms.
    #[track_caller]
    pub(crate) fn form(&self, service: &str, form: &str) {
        let request = self
            .agent
            .post(&self.url)
            .header("authorization", authorization(service))
            .header("content-type", "application/x-www-form-urlencoded");
        let status = request.send(form).expect("the emulator answers").status();
        assert_eq!(status, 200, "{form}");
    }

    /// Any request of JSON; its answer, which must be a good one.
    #[track_caller]
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        authorization: Option<&str>,
        body: &str,
    ) -> Value {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        if let Some(it) = authorization {
            request = request.header("authorization", it);
        }
        let request = request.body(body.to_owned()).expect("a request");
        let mut answer = self.agent.run(request).expect("the emulator answers");
        let text = answer.body_mut().read_to_string().expect("text");
        assert_eq!(answer.status(), 200, "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn sqs(&self, op: &str, body: &Value) -> Value {
        self.json("sqs", &format!("AmazonSQS.{op}"), body)
    }

    #[track_caller]
    pub(crate) fn json(&self, service: &str, target: &str, body: &Value) -> Value {
        let request = self
            .agent
            .post(&self.url)
            .header("authorization", authorization(service))
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", target);
        let mut answer = request
            .send(body.to_string())
            .expect("the emulator answers");
        let text = answer.body_mut().read_to_string().expect("text");
        assert_eq!(answer.status(), 200, "{target}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }
}

/// The emulator goes by the service's name in it and checks nothing else.
pub(crate) fn authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}
