import hashlib,os,subprocess,sys,tarfile,tempfile,time
E=os.environ
def end(code,said):
    sys.exit(sys.stderr.write("dalsegno: the flow's code cannot be fetched from %s: %s\n"%(E["DALSEGNO_CODE"],said)) and code)
try:import boto3
except ImportError:
    if subprocess.call([sys.executable,"-m","pip","install","-qqq","--no-cache-dir","--disable-pip-version-check","boto3"],stdout=2):end(212,"the image has no boto3, and pip cannot install it")
    import boto3
bucket,key=E["DALSEGNO_CODE"][5:].split("/",1)
for n in range(6):
    try:
        z=boto3.client("s3",endpoint_url=E.get("METAFLOW_S3_ENDPOINT_URL")).get_object(Bucket=bucket,Key=key)["Body"].read()
        break
    except Exception as e:
        status=getattr(e,"response",{}).get("ResponseMetadata",{}).get("HTTPStatusCode",500)
        if n==5 or status<429:end(212 if status<429 else 213,e)
        time.sleep(2**n)
if hashlib.sha256(z).hexdigest()!=E["DALSEGNO_CODE_SHA256"]:end(213,"what lies there is not what was put there")
d=tempfile.mkdtemp(prefix="dalsegno-")
with open(d+"/z","wb") as f:f.write(z)
tarfile.open(d+"/z").extractall(d)
os.execv(sys.executable,[sys.executable,"-u",d+"/ext/runtime/job.py",d])
