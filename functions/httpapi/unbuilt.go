package httpapi

import "net/http"

// unbuilt is every endpoint of the vendor's and WAHA's API that wafleet knows
// and does not do yet. Each answers 501 with the error body.
var unbuilt = notImplemented(map[string][]string{
	http.MethodGet: {
		"/api/screenshot",
		"/api/messages",
		"/api/checkNumberStatus",
		"/api/sendText", // WAHA's old form with query parameters
		"/api/server/environment",
		"/api/server/debug...",
		"/api/files...",
	},
	http.MethodPost: {
		"/api/sessions/start", // WAHA's old forms with the name in the body
		"/api/sessions/stop",
		"/api/sessions/logout",
		"/api/server/stop",
		"/api/sendText",
		"/api/sendReply",
		"/api/reply",
		"/api/sendImage",
		"/api/sendVideo",
		"/api/sendVoice",
		"/api/sendAudio",
		"/api/sendFile",
		"/api/sendLocation",
		"/api/sendContact",
		"/api/sendContactVcard",
		"/api/sendPoll",
		"/api/sendPollVote",
		"/api/sendReaction",
		"/api/sendButtons",
		"/api/sendList",
		"/api/sendLinkPreview",
		"/api/sendSeen",
		"/api/forwardMessage",
		"/api/startTyping",
		"/api/stopTyping",
		"/api/send/...",
		"/api/{session}/calls...",
		"/api/{session}/media...",
	},
	http.MethodPut: {
		"/api/keys/{id}",
		"/api/reaction",
		"/api/star",
	},
	anyMethod: {
		"/api/apps...",
		"/api/contacts...",
		"/api/{session}/chats...",
		"/api/{session}/contacts...",
		"/api/{session}/groups...",
		"/api/{session}/status...",
		"/api/{session}/channels...",
		"/api/{session}/profile...",
		"/api/{session}/lids...",
		"/api/{session}/presence...",
		"/api/{session}/labels...",
		"/api/{session}/events...",
	},
})

func notImplemented(patterns map[string][]string) []route {
	var routes []route
	for method, list := range patterns {
		for _, pattern := range list {
			routes = append(routes, route{
				method: method, pattern: pattern, unbuilt: true,
				do: func(*call) error { return errNotImplemented },
			})
		}
	}
	return routes
}
