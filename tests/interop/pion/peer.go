// Peer connections and ICE agents of Pion's, driven by lines of JSON: commands on stdin, answers and events on stdout.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pion/ice/v2"
	"github.com/pion/webrtc/v3"
)

// A command, with what the different ones take. "peer" says which connection or agent it is for.
type command struct {
	ID, Peer      int
	Do            string
	Settings      settings
	Configuration webrtc.Configuration
	Label         string
	Init          webrtc.DataChannelInit
	ICERestart    bool
	Description   webrtc.SessionDescription
	Candidate     webrtc.ICECandidateInit
	Data          []byte
	IsText        bool
	Ufrag, Pwd    string
}

type settings struct {
	Lite, MDNS     bool
	NetworkTypes   []string
	UDPMux, TCPMux bool      // whether to be on the one port of this process
	Timeouts       []float64 // disconnected, failed, keepalive, in seconds
}

type fields map[string]interface{}

// One of "connection" and "agent" is set.
type peer struct {
	number     int
	connection *webrtc.PeerConnection
	mutex      sync.Mutex
	channels   map[string]*webrtc.DataChannel
	agent      *ice.Agent
	conn       *ice.Conn
}

var (
	peers   = map[int]*peer{}
	onUDP   ice.UDPMux
	onTCP   ice.TCPMux
	output  = json.NewEncoder(os.Stdout)
	writing sync.Mutex
)

func main() {
	// Pion's loggers would write between the answers.
	os.Stdout = os.Stderr
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := input.ReadBytes('\n')
		if err != nil {
			return
		}
		var c command
		check(json.Unmarshal(line, &c))
		result, err := execute(&c)
		if err != nil {
			result = fields{"error": err.Error()}
		}
		write(fields{"id": c.ID, "result": result})
	}
}

func write(message fields) {
	writing.Lock()
	defer writing.Unlock()
	check(output.Encode(message))
}

// What cannot fail here if the machine is sound.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

func (p *peer) tell(event string, value interface{}) {
	write(fields{"peer": p.number, "event": event, "value": value})
}

func execute(c *command) (interface{}, error) {
	switch c.Do {
	case "connection":
		return nil, newConnection(c)
	case "agent":
		return nil, newAgent(c)
	}
	p := peers[c.Peer]
	if p.agent != nil {
		return p.askAgent(c)
	}
	return p.askConnection(c)
}

func (p *peer) askConnection(c *command) (interface{}, error) {
	switch c.Do {
	case "channel":
		channel, err := p.connection.CreateDataChannel(c.Label, &c.Init)
		if err == nil {
			p.follow(channel)
		}
		return nil, err
	case "offer":
		offer, err := p.connection.CreateOffer(&webrtc.OfferOptions{ICERestart: c.ICERestart})
		if err == nil {
			err = p.connection.SetLocalDescription(offer)
		}
		return p.connection.LocalDescription(), err
	case "answer":
		answer, err := p.connection.CreateAnswer(nil)
		if err == nil {
			err = p.connection.SetLocalDescription(answer)
		}
		return p.connection.LocalDescription(), err
	case "complete":
		<-webrtc.GatheringCompletePromise(p.connection)
		return p.connection.LocalDescription(), nil
	case "describe":
		return nil, p.connection.SetRemoteDescription(c.Description)
	case "candidate":
		return nil, p.connection.AddICECandidate(c.Candidate)
	case "send":
		p.mutex.Lock()
		channel := p.channels[c.Label]
		p.mutex.Unlock()
		if c.IsText {
			return nil, channel.SendText(string(c.Data))
		}
		return nil, channel.Send(c.Data)
	case "close":
		return nil, p.connection.Close()
	}
	return nil, fmt.Errorf("there is no command %q for a connection", c.Do)
}

func newConnection(c *command) error {
	engine := webrtc.SettingEngine{}
	s := c.Settings
	engine.SetLite(s.Lite)
	engine.SetICEMulticastDNSMode(s.mdnsMode())
	var types []webrtc.NetworkType
	for _, name := range s.NetworkTypes {
		one, err := webrtc.NewNetworkType(name)
		check(err)
		types = append(types, one)
	}
	engine.SetNetworkTypes(types)
	if s.UDPMux {
		engine.SetICEUDPMux(udpMux())
	}
	if s.TCPMux {
		engine.SetICETCPMux(tcpMux())
	}
	if s.Timeouts != nil {
		engine.SetICETimeouts(seconds(s.Timeouts[0]), seconds(s.Timeouts[1]), seconds(s.Timeouts[2]))
	}
	connection, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine)).NewPeerConnection(c.Configuration)
	if err != nil {
		return err
	}
	p := &peer{number: c.Peer, connection: connection, channels: map[string]*webrtc.DataChannel{}}
	peers[c.Peer] = p
	connection.OnICECandidate(func(candidate *webrtc.ICECandidate) {
		if candidate != nil {
			p.tell("candidate", candidate.ToJSON())
		}
	})
	connection.OnICEConnectionStateChange(func(state webrtc.ICEConnectionState) { p.tell("state", state.String()) })
	connection.OnDataChannel(p.follow)
	return nil
}

func udpMux() ice.UDPMux {
	if onUDP == nil {
		socket, err := net.ListenPacket("udp4", ":0")
		check(err)
		onUDP = webrtc.NewICEUDPMux(nil, socket)
	}
	return onUDP
}

func tcpMux() ice.TCPMux {
	if onTCP == nil {
		listener, err := net.Listen("tcp4", ":0")
		check(err)
		onTCP = webrtc.NewICETCPMux(nil, listener, 64)
	}
	return onTCP
}

func (p *peer) follow(channel *webrtc.DataChannel) {
	label := channel.Label()
	p.mutex.Lock()
	p.channels[label] = channel
	p.mutex.Unlock()
	channel.OnMessage(func(message webrtc.DataChannelMessage) {
		p.tell("message "+label, fields{"data": message.Data, "isText": message.IsString})
	})
	channel.OnClose(func() { p.tell("closed "+label, nil) })
	channel.OnOpen(func() {
		p.tell("open "+label, fields{"ordered": channel.Ordered(), "protocol": channel.Protocol(),
			"maxRetransmits": channel.MaxRetransmits(), "maxPacketLifeTime": channel.MaxPacketLifeTime()})
	})
}

func newAgent(c *command) error {
	agent, err := ice.NewAgent(&ice.AgentConfig{
		Lite:             c.Settings.Lite,
		MulticastDNSMode: c.Settings.mdnsMode(),
		CandidateTypes:   []ice.CandidateType{ice.CandidateTypeHost},
		NetworkTypes:     []ice.NetworkType{ice.NetworkTypeUDP4, ice.NetworkTypeUDP6},
	})
	if err != nil {
		return err
	}
	p := &peer{number: c.Peer, agent: agent}
	peers[c.Peer] = p
	check(agent.OnConnectionStateChange(func(state ice.ConnectionState) { p.tell("state", state.String()) }))
	return agent.OnCandidate(func(candidate ice.Candidate) {
		if candidate != nil {
			p.tell("candidate", candidate.Marshal())
		}
	})
}

func (p *peer) askAgent(c *command) (interface{}, error) {
	switch c.Do {
	case "gather":
		return nil, p.agent.GatherCandidates()
	case "credentials":
		ufrag, pwd, err := p.agent.GetLocalUserCredentials()
		return fields{"ufrag": ufrag, "pwd": pwd}, err
	case "candidate":
		candidate, err := ice.UnmarshalCandidate(c.Candidate.Candidate)
		if err != nil {
			return nil, err
		}
		return nil, p.agent.AddRemoteCandidate(candidate)
	case "dial":
		go p.run(p.agent.Dial, c)
		return nil, nil
	case "accept":
		go p.run(p.agent.Accept, c)
		return nil, nil
	case "send":
		_, err := p.conn.Write(c.Data)
		return nil, err
	case "close":
		return nil, p.agent.Close()
	}
	return nil, fmt.Errorf("there is no command %q for an agent", c.Do)
}

func (p *peer) run(connect func(context.Context, string, string) (*ice.Conn, error), c *command) {
	conn, err := connect(context.Background(), c.Ufrag, c.Pwd)
	if err != nil {
		return
	}
	p.conn = conn
	p.tell("connected", nil)
	buffer := make([]byte, 1<<16)
	for {
		size, err := conn.Read(buffer)
		if err != nil {
			return
		}
		p.tell("data", buffer[:size])
	}
}

func (s settings) mdnsMode() ice.MulticastDNSMode {
	if s.MDNS {
		return ice.MulticastDNSModeQueryAndGather
	}
	return ice.MulticastDNSModeQueryOnly
}

func seconds(number float64) time.Duration { return time.Duration(number * float64(time.Second)) }
