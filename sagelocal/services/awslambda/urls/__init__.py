"""Function URLs: a Lambda function answers HTTP at http://127.0.0.1:<port>/_sagelocal/urls/<id>/.

front.py    from request to response
access.py   who may call: AuthType, roles' policies, the function's own policy
cors.py     what browsers ask and are told
messages.py the event a function gets (payload format 2.0), the response its answer becomes

Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html
"""
