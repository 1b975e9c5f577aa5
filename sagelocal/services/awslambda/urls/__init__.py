"""Function URLs: a Lambda function answers HTTP at http://<id>.lambda-url.<region>.localhost:<port>/.

Browsers and curl know that such a name is this machine. A program whose resolver does not asks 127.0.0.1:<port> with
the name in its Host header. What must be signed (AuthType AWS_IAM) is answered at
http://127.0.0.1:<port>/_sagelocal/urls/<id>/ too, where what is open to everybody is not.

front.py    from request to response
access.py   who may call: AuthType, roles' policies, the function's own policy
cors.py     what browsers ask and are told
messages.py the event a function gets (payload format 2.0), the response its answer becomes

Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html
"""
