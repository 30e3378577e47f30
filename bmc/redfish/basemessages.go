package redfish

// baseEntry is a message of the Base registry.
type baseEntry struct {
	text, severity string
	// args are the types of the arguments: "string" or "number".
	args                    []string
	description, resolution string
}

// baseVersion is that of DMTF's Base registry whose messages these are.
const (
	baseVersion = "1.16.0"
	basePrefix  = "Base.1.16."
)

const (
	ok       = "OK"
	warning  = "Warning"
	critical = "Critical"
)

func strs(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = "string"
	}
	return out
}

// baseMessages are the messages of the Base registry that the service uses (DSP8011).
var baseMessages = map[string]baseEntry{
	"Success":      {"The request completed successfully.", ok, nil, "All conditions of a successful operation were met.", "None."},
	"Created":      {"The resource has been created successfully.", ok, nil, "All conditions of a successful create operation were met.", "None."},
	"GeneralError": {"A general error has occurred.  See Resolution for information on how to resolve the error, or @Message.ExtendedInfo if Resolution is not provided.", critical, nil, "A general error has occurred.", "See the other messages of the answer."},
	"InternalError": {"The request failed due to an internal service error.  The service is still operational.", critical, nil,
		"The request failed for an unknown internal error.", "Resubmit the request.  If the problem persists, consider resetting the service."},
	"ServiceTemporarilyUnavailable": {"The service is temporarily unavailable.  Retry in %1 seconds.", critical, strs(1),
		"The service is temporarily unavailable.", "Wait for the indicated retry duration and retry the operation."},
	"ResourceInUse": {"The change to the requested resource failed because the resource is in use or in transition.", warning, nil,
		"A change was requested that the resource cannot take in its present state.", "Remove the condition and resubmit the request if the operation failed."},
	"OperationNotAllowed": {"The HTTP method is not allowed on this resource.", critical, nil,
		"The operation is not supported here.", "None."},
	"OperationFailed": {"An error occurred internal to the service as part of the overall request.  Partial results may have been returned.", warning, nil,
		"One or more of the operations of the request failed.", "Resubmit the request.  If the problem persists, consider resetting the service or provider."},
	"NotImplemented":        {"The action or method is not implemented.", critical, nil, "The method is unknown to the service.", "None."},
	"ResourceMissingAtURI":  {"The resource at the URI '%1' was not found.", critical, strs(1), "The URI names no resource.", "Place a valid resource at the URI or correct the URI and resubmit the request."},
	"ResourceAlreadyExists": {"The requested resource of type %1 with the property %2 with the value '%3' already exists.", critical, strs(3), "The resource to be created exists.", "Do not repeat the create operation as the resource has already been created."},
	"ResourceCannotBeDeleted": {"The delete request failed because the resource requested cannot be deleted.", critical, nil,
		"The resource cannot be deleted.", "Do not attempt to delete a non-deletable resource."},
	"NoValidSession": {"There is no valid session established with the implementation.", critical, nil,
		"The request has no valid credentials.", "Establish a session before attempting any operations."},
	"ResourceAtUriUnauthorized": {"While accessing the resource at '%1', the service received an authorization error '%2'.", critical, strs(2),
		"The credentials are not valid.", "Ensure that the appropriate access is provided for the service in order for it to access the URI."},
	"InsufficientPrivilege": {"There are insufficient privileges for the account or credentials associated with the current session to perform the requested operation.", critical, nil,
		"The credentials do not have sufficient privileges.", "Either abandon the operation or change the associated access rights and resubmit the request if the operation failed."},
	"PasswordChangeRequired": {"The password provided for this account must be changed before access is granted.  PATCH the Password property for this account located at the target URI '%1' to complete this process.", critical, strs(1),
		"The password must be changed.", "Change the password for this account using a PATCH to the Password property at the URI provided."},
	"EventSubscriptionLimitExceeded": {"The event subscription failed due to the number of simultaneous subscriptions exceeding the limit of the implementation.", critical, nil, "There are too many subscriptions.", "Reduce the number of other subscriptions before trying to establish the event subscription or increase the limit of simultaneous subscriptions, if supported."},
	"CreateLimitReachedForResource":  {"The create operation failed because the resource has reached the limit of possible resources.", critical, nil, "No more resources can be created.", "Either delete resources and resubmit the request if the operation failed or do not resubmit the request."},
	"PreconditionFailed":             {"The ETag supplied did not match the ETag required to change this resource.", critical, nil, "The ETag does not match.", "Try the operation again using the appropriate ETag."},
	"PreconditionRequired":           {"A precondition header or annotation is required to change this resource.", critical, nil, "A precondition is required.", "Try the operation again using an If-Match or If-None-Match header and appropriate ETag."},
	"HeaderInvalid":                  {"Header '%1' is invalid.", critical, strs(1), "A request header is invalid.", "Resubmit the request with a valid request header."},
	"PayloadTooLarge":                {"The supplied payload exceeds the maximum size supported by the service.", critical, nil, "The body is too large.", "Reduce the size of the payload and resubmit the request."},
	"MalformedJSON":                  {"The request body submitted was malformed JSON and could not be parsed by the receiving service.", critical, nil, "The body is no valid JSON.", "Ensure that the request body is valid JSON and resubmit the request."},
	"UnrecognizedRequestBody":        {"The service detected a malformed request body that it was unable to interpret.", warning, nil, "The body is not understood.", "Correct the request body and resubmit the request if it failed."},
	"EmptyJSON":                      {"The request body submitted contained an empty JSON object and the service is unable to process it.", warning, nil, "The body is an empty object.", "Add properties in the JSON object and resubmit the request."},
	"NoOperation":                    {"The request body submitted contain no data to act upon and no changes to the resource took place.", warning, nil, "There is nothing to do.", "Add properties in the JSON object and resubmit the request."},
	"PropertyUnknown":                {"The property %1 is not in the list of valid properties for the resource.", warning, strs(1), "The property is unknown.", "Remove the unknown property from the request body and resubmit the request if the operation failed."},
	"PropertyNotWritable":            {"The property %1 is a read-only property and cannot be assigned a value.", warning, strs(1), "The property is read-only.", "Remove the property from the request body and resubmit the request if the operation failed."},
	"PropertyMissing":                {"The property %1 is a required property and must be included in the request.", warning, strs(1), "A required property is missing.", "Ensure that the property is in the request body and has a valid value and resubmit the request if the operation failed."},
	"CreateFailedMissingReqProperties": {"The create operation failed because the required property %1 was missing from the request.", critical, strs(1),
		"A required property is missing.", "Correct the body to include the required property with a valid value and resubmit the request if the operation failed."},
	"PropertyValueTypeError":      {"The value '%1' for the property %2 is of a different type than the property can accept.", warning, strs(2), "The value has the wrong type.", "Correct the value for the property in the request body and resubmit the request if the operation failed."},
	"PropertyValueFormatError":    {"The value '%1' for the property %2 is of a different format than the property can accept.", warning, strs(2), "The value has the wrong format.", "Correct the value for the property in the request body and resubmit the request if the operation failed."},
	"PropertyValueNotInList":      {"The value '%1' for the property %2 is not in the list of acceptable values.", warning, strs(2), "The value is not in the enumeration.", "Choose a value from the enumeration list that the implementation can support and resubmit the request if the operation failed."},
	"PropertyValueOutOfRange":     {"The value '%1' for the property %2 is not in the supported range of acceptable values.", warning, strs(2), "The value is out of range.", "Correct the value for the property in the request body and resubmit the request if the operation failed."},
	"PropertyValueConflict":       {"The property '%1' could not be written because its value would conflict with the value of the '%2' property.", warning, strs(2), "Two properties conflict.", "No resolution is required."},
	"PropertyValueIncorrect":      {"The property '%1' with the requested value of '%2' could not be written because the value does not meet the constraints of the implementation.", warning, strs(2), "The value does not meet the constraints.", "No resolution is required."},
	"ActionNotSupported":          {"The action %1 is not supported by the resource.", critical, strs(1), "The action is not supported.", "The action supplied cannot be resubmitted to the implementation.  Perhaps the action was invalid, the wrong resource was the target or the implementation documentation may be of assistance."},
	"ActionParameterMissing":      {"The action %1 requires the parameter %2 to be present in the request body.", critical, strs(2), "A required parameter is missing.", "Supply the action with the required parameter in the request body when the request is resubmitted."},
	"ActionParameterUnknown":      {"The action %1 was submitted with the invalid parameter %2.", warning, strs(2), "A parameter is unknown.", "Correct the invalid action parameter and resubmit the request if the operation failed."},
	"ActionParameterNotSupported": {"The parameter %1 for the action %2 is not supported on the target resource.", warning, strs(2), "A parameter is not supported.", "Remove the parameter supplied and resubmit the request if the operation failed."},
	"ActionParameterValueTypeError": {"The value '%1' for the parameter %2 in the action %3 is of a different type than the parameter can accept.", warning, strs(3),
		"A parameter has the wrong type.", "Correct the value for the parameter in the request body and resubmit the request if the operation failed."},
	"ActionParameterValueFormatError": {"The value '%1' for the parameter %2 in the action %3 is of a different format than the parameter can accept.", warning, strs(3),
		"A parameter has the wrong format.", "Correct the value for the parameter in the request body and resubmit the request if the operation failed."},
	"ActionParameterValueNotInList": {"The value '%1' for the parameter %2 in the action %3 is not in the list of acceptable values.", warning, strs(3),
		"A parameter is not in the enumeration.", "Choose a value from the enumeration list that the implementation can support and resubmit the request if the operation failed."},
	"ActionParameterValueConflict": {"The parameter '%1' with the requested value of '%2' does not meet the constraints of the implementation.", warning, strs(2),
		"A parameter conflicts with the state of the resource.", "No resolution is required."},
	"QueryNotSupported": {"Querying is not supported by the implementation.", warning, nil, "Query parameters are not supported.", "Remove the query parameters and resubmit the request if the operation failed."},
	"QueryNotSupportedOnResource": {"Querying is not supported on the requested resource.", warning, nil,
		"The query parameter is not supported on this resource.", "Remove the query parameters and resubmit the request if the operation failed."},
	"QueryNotSupportedOnOperation": {"Querying is not supported with the requested operation.", warning, nil,
		"The query parameter is not supported with this method.", "Remove the query parameters and resubmit the request if the operation failed."},
	"QueryCombinationInvalid": {"Two or more query parameters in the request cannot be used together.", warning, nil,
		"Query parameters cannot be combined.", "Remove one or more of the query parameters and resubmit the request if the operation failed."},
	"QueryParameterValueTypeError":   {"The value '%1' for the query parameter %2 is of a different type than the parameter can accept.", warning, strs(2), "A query parameter has the wrong type.", "Correct the value for the query parameter in the request and resubmit the request if the operation failed."},
	"QueryParameterValueFormatError": {"The value '%1' for the parameter %2 is of a different format than the parameter can accept.", warning, strs(2), "A query parameter has the wrong format.", "Correct the value for the query parameter in the request and resubmit the request if the operation failed."},
	"QueryParameterOutOfRange":       {"The value '%1' for the query parameter %2 is out of range %3.", warning, strs(3), "A query parameter is out of range.", "Reduce the value for the query parameter to a value that is within range, such as a start or count value that is within bounds of the number of resources in a collection or a page that is within the range of valid pages."},
	"AccountRemoved":                 {"The account was successfully removed.", ok, nil, "The account was removed.", "No resolution is required."},
	"InvalidURI":                     {"The URI %1 was not found.", critical, strs(1), "The URI was not found.", "Provide a valid URI and resubmit the request."},
	"ActionParameterValueError":      {"The value for the parameter %1 in the action %2 is invalid.", warning, strs(2), "A parameter has an invalid value.", "Correct the value for the parameter in the request body and resubmit the request if the operation failed."},
	"PropertyValueError":             {"The value provided for the property %1 is not valid.", warning, strs(1), "The value is not valid.", "Correct the value for the property in the request body and resubmit the request if the operation failed."},
	"CouldNotEstablishConnection":    {"The service failed to establish a connection with the URI '%1'.", critical, strs(1), "A connection could not be made.", "Ensure that the URI contains a valid and reachable node name, protocol information and other URI components."},
	"SourceDoesNotSupportProtocol":   {"The other end of the connection at '%1' does not support the specified protocol %2.", critical, strs(2), "The protocol is not supported.", "Change protocols or URIs."},
	"ResetRequired":                  {"In order to complete the operation, a component reset is required with the Reset action URI '%1' and ResetType '%2'.", warning, strs(2), "A reset is required.", "Perform the required reset action on the specified component."},
}
