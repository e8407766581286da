"""Objects in S3 by their URLs, asked for patiently."""
import os
import time

# One second, then twice as long each time: about a minute in all.
ATTEMPTS = 7


class Unfit(Exception):
    """What is asked for will never be given."""


def get(url, missing=Unfit):
    """The content; `missing` where there is none."""
    def read(client, place):
        return client.get_object(**place)["Body"].read()

    return _patiently(url, read, missing)


def exists(url):
    return _patiently(url, lambda client, place: client.head_object(**place), None) is not None


def put(url, content):
    _patiently(url, lambda client, place: client.put_object(Body=content, **place), Unfit)


def _patiently(url, call, missing):
    import boto3

    bucket, key = url[len("s3://"):].split("/", 1)
    client = boto3.client("s3", endpoint_url=os.environ.get("METAFLOW_S3_ENDPOINT_URL"))
    for attempt in range(ATTEMPTS):
        try:
            return call(client, {"Bucket": bucket, "Key": key})
        except Exception as error:
            status = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
            # Who may not list a bucket is not told that there is nothing.
            if status in (403, 404) and missing is not Unfit:
                return missing
            if status in (400, 401, 403, 404):
                raise Unfit("%s: %s" % (url, error))
            if attempt + 1 == ATTEMPTS:
                raise
        time.sleep(2 ** attempt)
