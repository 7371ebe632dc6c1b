package guard

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"curfew.example/resources/internal/cgroup"
)

// start starts what the plan names as a child, by way of other stages where the plan needs
// them, and reports whether it is in the cgroup. extra are descriptors of the next stage.
func (p *Plan) start() (pid int, inCgroup bool, err error) {
	if len(p.Cgroup) > 0 {
		dir, openErr := (&cgroup.Group{Dir: string(p.Cgroup)}).Open()
		if openErr == nil {
			defer dir.Close()
			sys := p.attributes()
			sys.UseCgroupFD, sys.CgroupFD = true, int(dir.Fd())
			if pid, err = p.fork(sys); err == nil {
				return pid, true, nil
			}
			// The kernel may refuse the cgroup, and may not: without it the same
			// error tells that it was the program.
		}
	}
	pid, err = p.fork(p.attributes())
	return pid, false, err
}

// attributes are those of the command's main process.
func (p *Plan) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pgid: p.Group, Pdeathsig: syscall.SIGKILL}
}

func (p *Plan) fork(sys *syscall.SysProcAttr) (int, error) {
	if p.Limits != (Limits{}) {
		return p.forkWithLimits(sys)
	}
	return syscall.ForkExec(string(p.Path), texts(p.Args), &syscall.ProcAttr{
		Dir: string(p.Dir), Env: texts(p.Env), Files: []uintptr{0, 1, 2}, Sys: sys,
	})
}

// forkWithLimits starts this program as a stage that sets the limits, and then becomes the
// command, so that the command never runs without them.
func (p *Plan) forkWithLimits(sys *syscall.SysProcAttr) (int, error) {
	pid, answer, err := p.forkStage(limitsName, sys)
	if err != nil {
		return 0, err
	}
	defer answer.Close()
	// The end without a word says that it has become the command.
	word, err := ReadWord(NewReader(answer))
	if errors.Is(err, io.EOF) {
		return pid, nil
	}
	_, _ = unix.Wait4(pid, nil, 0, nil)
	if err != nil || word.Failed == nil {
		return 0, unix.EIO
	}
	return 0, syscall.Errno(word.Failed.Errno)
}

// forkStage starts this program as another stage with the same plan, and returns the pipe
// of its words.
func (p *Plan) forkStage(name string, sys *syscall.SysProcAttr) (pid int, answer *os.File, err error) {
	planR, planW, err := os.Pipe()
	if err != nil {
		return 0, nil, errno(err)
	}
	defer planR.Close()
	defer planW.Close()
	answer, answerW, err := os.Pipe()
	if err != nil {
		return 0, nil, errno(err)
	}
	defer answerW.Close()
	dir := string(p.Dir)
	if name == initName {
		dir = "" // the command's, not its init's
	}
	pid, err = syscall.ForkExec(Self, []string{name, filepath.Base(string(p.Path))}, &syscall.ProcAttr{
		Dir: dir, Env: os.Environ(), Files: []uintptr{0, 1, 2, planR.Fd(), answerW.Fd()}, Sys: sys,
	})
	if err == nil {
		planR.Close() // if the stage dies, the write below is an error and no wait
		_, _ = planW.Write(p.Encode())
	} else {
		answer.Close()
	}
	return pid, answer, err
}

// errno is the number in an error of the operating system.
func errno(err error) syscall.Errno {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return unix.EIO
}

// letGoOfStreams gives the command's standard streams back: who reads its output waits for
// the end of all that hold it, and this process is none of them.
func letGoOfStreams() {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	for fd := range 3 {
		if err != nil || unix.Dup3(null, fd, 0) != nil {
			_ = unix.Close(fd)
		}
	}
}
